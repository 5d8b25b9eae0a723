"""Cutting text into passages, with the place of each in the extracted text."""

from collections.abc import Iterator
from functools import cache

from semantic_text_splitter import TextSplitter

from pipeline.types import PageText, TextChunk

CHUNK_CHARACTERS = 1500
OVERLAP_CHARACTERS = 100
PIECE_CHARACTERS = 25_000
"""The splitter looks through the rest of its text for each chunk: its time grows with the square of the length."""
PIECE_ENDS = ("\n\n", "\n", " ")


def split_page(page: PageText) -> Iterator[TextChunk]:
    """Cut a page into chunks of at most 1,500 characters, with an overlap of at most 100.

    Cuts fall at the ends of paragraphs, sentences or words, the first of these that fits. Chunks hold no white space
    at their edges; a page without any text has none. A long page is cut into pieces first, at the end of a paragraph
    where there is one, and chunks of two pieces do not overlap.
    """
    for start, piece in _cut(page.text):
        for offset, text in _make_splitter().chunk_indices(piece):
            yield TextChunk(page=page.number, start=page.start + start + offset, text=text)


def _cut(text: str) -> Iterator[tuple[int, str]]:
    """Pieces that the splitter can take at once, with their places."""
    start = 0
    while start < len(text):
        end = _find_end(text, start)
        yield start, text[start:end]
        start = end


def _find_end(text: str, start: int) -> int:
    limit = start + PIECE_CHARACTERS
    if limit >= len(text):
        return len(text)
    for mark in PIECE_ENDS:
        found = text.rfind(mark, limit - PIECE_CHARACTERS // 2, limit)
        if found >= 0:
            return found + len(mark)
    return limit


@cache
def _make_splitter() -> TextSplitter:
    # Not the Markdown splitter of the same library: it panics on an indentation as long as a chunk.
    return TextSplitter(CHUNK_CHARACTERS, overlap=OVERLAP_CHARACTERS, trim=True)
