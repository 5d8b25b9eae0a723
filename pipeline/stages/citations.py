"""Check the citations `[n]` of a text that arrives in pieces."""

import re
from collections.abc import Iterator, Sequence

from pipeline.types import Citation, Passage, Piece

CITATION = re.compile(r"(\s{0,2})\[([0-9]{1,4}(?:\s*,\s*[0-9]{1,4}){0,15})\]")
UNFINISHED = re.compile(r"\s{0,2}(?:\[[0-9,\s]{0,128})?$")
"""The end of a piece that may be the beginning of a citation, or the white space before one."""


class CitationCheck:
    """Pass on citations of known passages, as `[1][2]`, and remove citations of passages that do not exist.

    The passages are numbered from 1.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._held = ""
        self._length = 0
        """Number of characters that have been passed on."""
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
        parts: list[Piece] = []
        end = 0
        for found in CITATION.finditer(text):
            parts.append(self._pass_on(text[end : found.start()]))
            parts += self._cite(found)
            end = found.end()
        parts.append(self._pass_on(text[end:]))
        return Piece("".join(part.text for part in parts), tuple(one for part in parts for one in part.citations))

    def _cite(self, found: re.Match[str]) -> Iterator[Piece]:
        numbers = [int(number) for number in found[2].split(",")]
        known = [number for number in numbers if 1 <= number <= len(self._passages)]
        self.unknown += len(numbers) - len(known)
        if known:
            yield self._pass_on(found[1])
        for number in known:
            mark = cite(number, self._passages[number - 1], self._length)
            self._length = mark.citations[0].end
            yield mark

    def _pass_on(self, text: str) -> Piece:
        self._length += len(text)
        return Piece(text)


def cite(number: int, passage: Passage, start: int) -> Piece:
    """Return the mark that cites this passage, at character `start` of an answer."""
    text = f"[{number}]"
    return Piece(text, (Citation(number, passage.id, start, start + len(text)),))
