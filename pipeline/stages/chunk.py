"""Cutting text into passages, with the place of each in the extracted text."""

import re
import unicodedata
from collections.abc import Iterator

from pipeline.types import PageText, TextChunk

CHUNK_CHARACTERS = 1500
LEAST_CHARACTERS = 750
"""A passage is not cut shorter than this for the sake of a better place."""
OVERLAP_CHARACTERS = 100

CLOSING = "[\"'\\])\u00bb\u2019\u201d\u300d\u300f\uff09]*"
ENDS = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    # Behind a full stop before a small letter a sentence goes on; Chinese and Japanese write no space behind theirs.
    re.compile(rf"[.!?\u2026\u061f\u06d4\u0964]{CLOSING}\s++(?![a-z])|[\u3002\uff01\uff1f]{CLOSING}\s*"),
    re.compile(r"\n\s*"),
    re.compile(r"\s+"),
)
"""Of a paragraph, a sentence, a line and a word, with the white space behind it: where to cut, the best first."""
NOT_SPACE = re.compile(r"\S")
JOINER = "\u200d"


def split_page(page: PageText) -> Iterator[TextChunk]:
    """Cut a page into chunks of at most 1,500 characters, with an overlap of at most 100.

    No chunk reaches from one section of the page into the next. Within a section cuts fall at the ends of paragraphs,
    sentences, lines or words, the first of these that leaves at least half a chunk. An overlap begins at a place no
    worse than the cut. Chunks hold no white space at their edges; a page without any text has none. Takes time linear
    in the length of the page.
    """
    offset = page.start
    for section in page.sections:
        for start, end in _cut(section):
            yield TextChunk(page=page.number, start=offset + start, text=section[start:end].rstrip())
        offset += len(section)


def _cut(text: str) -> Iterator[tuple[int, int]]:
    """Starts and ends of the chunks of a section; the ends may have white space before them."""
    start = 0
    while first := NOT_SPACE.search(text, start):
        end, start = _find_end(text, first.start())
        yield first.start(), end


def _find_end(text: str, start: int) -> tuple[int, int]:
    """Where the chunk that begins at `start` ends, and where the next one may begin."""
    least, limit = start + LEAST_CHARACTERS, start + CHUNK_CHARACTERS
    if len(text) <= limit:
        return len(text), len(text)
    for rank, mark in enumerate(ENDS):
        ends = [found.end() for found in mark.finditer(text, least, limit)]
        if ends:
            overlap = ends[-1] - OVERLAP_CHARACTERS
            starts = (found.end() for better in ENDS[: rank + 1] if (found := better.search(text, overlap, ends[-1])))
            return ends[-1], min(starts)
    end = _avoid_dividing(text, limit, least)
    return end, end


def _avoid_dividing(text: str, limit: int, least: int) -> int:
    """The last place up to `limit` that does not part an accent or a joiner from its letter."""
    end = limit
    while end > least and (unicodedata.category(text[end]).startswith("M") or JOINER in text[end - 1 : end + 1]):
        end -= 1
    return end if end > least else limit
