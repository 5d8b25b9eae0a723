"""Check the citations `[n]` of a text that arrives in pieces."""

import re

from pipeline.types import Piece

CITATION = re.compile(r"(\s{0,2})\[([0-9]{1,4}(?:\s*,\s*[0-9]{1,4}){0,15})\]")
UNFINISHED = re.compile(r"\s{0,2}(?:\[[0-9,\s]{0,128})?$")
"""The end of a piece that may be the beginning of a citation, or the white space before one."""


class CitationCheck:
    """Pass on citations of known passages, as `[1][2]`, and remove citations of passages that do not exist.

    `passages` is the number of passages; they are counted from 0.
    """

    def __init__(self, passages: int) -> None:
        self._passages = passages
        self._held = ""
        self.unknown = 0
        """Number of removed citations."""

    def feed(self, text: str) -> Piece:
        """Return the text that is complete so far. An unfinished citation is held until the next call."""
        text = self._held + text
        unfinished = UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._held = text[end:]
        return self._check(text[:end])

    def finish(self) -> Piece:
        """Return the text that is still held."""
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
