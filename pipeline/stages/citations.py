"""Citations `[n]` in a text that comes in pieces: checked against the passages there are."""

import re

from pipeline.types import Piece

CITATION = re.compile(r"(\s{0,2})\[([0-9]{1,4}(?:\s*,\s*[0-9]{1,4}){0,15})\]")
UNFINISHED = re.compile(r"\s{0,2}(?:\[[0-9,\s]{0,128})?$")
"""What may become a citation, or stand before one."""


class CitationCheck:
    """Lets known citations pass, as `[1][2]`, and removes those of passages that do not exist."""

    def __init__(self, passages: int) -> None:
        self._passages = passages
        self._held = ""
        self.unknown = 0
        """How many were removed."""

    def feed(self, text: str) -> Piece:
        """Return what can be said by now; the beginning of a citation waits for its end."""
        text = self._held + text
        unfinished = UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._held = text[end:]
        return self._check(text[:end])

    def finish(self) -> Piece:
        """Return what still waited."""
        return self._check(self._held)

    def _check(self, text: str) -> Piece:
        cited: list[int] = []

        def replace(found: re.Match[str]) -> str:
            numbers = [int(number) for number in found[2].split(",")]
            known = [number for number in numbers if number < self._passages]
            self.unknown += len(numbers) - len(known)
            cited.extend(known)
            return found[1] + "".join(f"[{number}]" for number in known) if known else ""

        text = CITATION.sub(replace, text)
        return Piece(text, tuple(cited))
