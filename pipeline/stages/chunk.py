"""Cutting text into passages, with the place of each in the extracted text."""

import re
import unicodedata
from collections.abc import Iterator

from pipeline.types import PageText, TextChunk

CHUNK_CHARACTERS = 1500
OVERLAP_CHARACTERS = 100

CLOSING = "[\"'\\])\u00bb\u2019\u201d\u300d\u300f\uff09]*"
ENDS = (
    (375, re.compile(r"\n[^\S\n]*\n\s*")),
    # Behind a full stop before a small letter a sentence goes on; Chinese and Japanese write no space behind theirs.
    (750, re.compile(rf"[.!?\u2026\u061f\u06d4\u0964]{CLOSING}\s++(?![a-z])|[\u3002\uff01\uff1f]{CLOSING}\s*")),
    (750, re.compile(r"\n\s*")),
    (750, re.compile(r"\s+")),
)
"""Where to cut, the best first: the ends of a paragraph, sentence, line and word, with the white space behind them.

A chunk is not cut shorter than the number beside it for their sake.
"""
NOT_SPACE = re.compile(r"\S")
JOINER = "\u200d"


def split_page(page: PageText) -> Iterator[TextChunk]:
    """Cut a page into chunks of at most 1,500 characters, with an overlap of at most 100.

    No chunk reaches from one section of the page into the next. Within a section cuts fall at the ends of paragraphs,
    sentences, lines or words, the first of these that is far enough from the start. An overlap begins at a place no
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
    limit = start + CHUNK_CHARACTERS
    if len(text) <= limit:
        return len(text), len(text)
    for rank, (least, mark) in enumerate(ENDS):
        ends = [found.end() for found in mark.finditer(text, start + least, limit)]
        if ends:
            overlap, marks = ends[-1] - OVERLAP_CHARACTERS, (better for _, better in ENDS[: rank + 1])
            return ends[-1], min(found.end() for better in marks if (found := better.search(text, overlap, ends[-1])))
    end = _avoid_dividing(text, start, limit)
    return end, end


def _avoid_dividing(text: str, start: int, limit: int) -> int:
    """The last place up to `limit` that does not part an accent or a joiner from its letter."""
    end, least = limit, start + CHUNK_CHARACTERS // 2
    while end > least and (unicodedata.category(text[end]).startswith("M") or JOINER in text[end - 1 : end + 1]):
        end -= 1
    return end if end > least else limit
