"""Cut text into chunks, each with its position in the extracted text."""

import re
import unicodedata
from collections.abc import Iterator

from pipeline.types import PageText, TextChunk

CHUNK_CHARACTERS = 1500
"""Longest chunk, in characters."""
OVERLAP_CHARACTERS = 100
"""Longest overlap of two consecutive chunks, in characters."""

CLOSING = "[\"'\\])\u00bb\u2019\u201d\u300d\u300f\uff09]*"
BOUNDARIES = (
    (375, re.compile(r"\n[^\S\n]*\n\s*")),
    # A full stop before a lower-case letter does not end a sentence. Chinese and Japanese put no space after theirs.
    (750, re.compile(rf"[.!?\u2026\u061f\u06d4\u0964]{CLOSING}\s++(?![a-z])|[\u3002\uff01\uff1f]{CLOSING}\s*")),
    (750, re.compile(r"\n\s*")),
    (750, re.compile(r"\s+")),
)
"""Boundaries at which a chunk may end, best first: paragraph, sentence, line and word, with the space that follows.

The number is the shortest chunk, in characters, that may end at such a boundary.
"""
NOT_SPACE = re.compile(r"\S")
ZERO_WIDTH_JOINER = "\u200d"


def split_page(page: PageText) -> Iterator[TextChunk]:
    """Cut a page into chunks of at most 1,500 characters that overlap by at most 100.

    A chunk never crosses from one section of the page into the next. It ends at the last paragraph end that makes it
    long enough, otherwise at the last end of a sentence, line or word, in this order. The overlap starts at a boundary
    of the same kind or a better one. A chunk has no white space at its edges. A page without text has no chunks. Each
    `start` counts characters of the whole extracted text. Takes time linear in the length of the page.

    The algorithm is our own, a greedy form of recursive character splitting.
    """
    offset = page.start
    for section in page.sections:
        for start, end in _cut(section):
            yield TextChunk(page=page.number, start=offset + start, text=section[start:end].rstrip())
        offset += len(section)


def _cut(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each chunk of a section. White space may precede the end."""
    start = 0
    while first := NOT_SPACE.search(text, start):
        end, start = _find_end(text, first.start())
        yield first.start(), end


def _find_end(text: str, start: int) -> tuple[int, int]:
    """Return the end of the chunk that begins at `start`, and the earliest start of the next chunk."""
    limit = start + CHUNK_CHARACTERS
    if len(text) <= limit:
        return len(text), len(text)
    for rank, (shortest, boundary) in enumerate(BOUNDARIES):
        ends = [found.end() for found in boundary.finditer(text, start + shortest, limit)]
        if ends:
            end, as_good = ends[-1], [pattern for _, pattern in BOUNDARIES[: rank + 1]]
            overlaps = (pattern.search(text, end - OVERLAP_CHARACTERS, end) for pattern in as_good)
            return end, min((found.end() for found in overlaps if found), default=end)
    end = _keep_characters_whole(text, start, limit)
    return end, end


def _keep_characters_whole(text: str, start: int, limit: int) -> int:
    """Return the last position up to `limit` that does not separate a combining mark or joiner from its letter.

    A simple form of the grapheme clusters of Unicode (UAX #29).
    """
    end, shortest = limit, start + CHUNK_CHARACTERS // 2
    while end > shortest and (
        unicodedata.category(text[end]).startswith("M") or ZERO_WIDTH_JOINER in text[end - 1 : end + 1]
    ):
        end -= 1
    return end if end > shortest else limit
