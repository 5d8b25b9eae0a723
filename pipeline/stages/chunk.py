"""Cutting text into passages, with the place of each in the extracted text."""

from collections.abc import Iterator
from functools import cache

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from pipeline.types import PageText, TextChunk

CHUNK_CHARACTERS = 1500
OVERLAP_CHARACTERS = 100


def split_page(page: PageText, media_type: str) -> Iterator[TextChunk]:
    """Cut a page into chunks of at most 1,500 characters, with an overlap of at most 100.

    Cuts fall at the ends of sections, paragraphs, sentences or words, the first of these that fits. Chunks hold
    no white space at their edges; a page without any text has none.
    """
    for offset, text in _splitter(media_type).chunk_indices(page.text):
        yield TextChunk(page=page.number, start=page.start + offset, text=text)


@cache
def _splitter(media_type: str) -> TextSplitter | MarkdownSplitter:
    kind = MarkdownSplitter if media_type == "text/markdown" else TextSplitter
    return kind(CHUNK_CHARACTERS, overlap=OVERLAP_CHARACTERS, trim=True)
