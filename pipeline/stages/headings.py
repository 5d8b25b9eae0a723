"""Headings of pages, such as the name of a financial statement, and how much each of their words tells."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.stages.words.lexemes import find_forms
from pipeline.stages.words.split import Kind, split
from pipeline.types import PageText, TextChunk

LINES = 5
"""Number of lines at the top of a page that may be headings."""
LONGEST = 80
"""Longest heading, in characters."""
LETTERS = re.compile(r"[^\W\d_]+")


def add_headings(pages: Sequence[PageText], chunks: Sequence[TextChunk], language: str) -> Sequence[TextChunk]:
    """Return the chunks with the words of the headings of their pages. A document of one page gets none.

    A word tells the more, the fewer pages have it in their headings. So a running head tells almost nothing. This is
    inverse document frequency (Sparck Jones, 1972) of the pages of one document.
    """
    if len(pages) < 2:
        return chunks
    words = {page.number: set(_list_lexemes(page, language)) for page in pages}
    counts = Counter(word for found in words.values() for word in found)
    weights = {word: math.log((len(pages) + 1) / count) for word, count in counts.items()}
    headings = {page: {word: weights[word] for word in sorted(found)} for page, found in words.items()}
    return [replace(chunk, headings=headings[chunk.page]) for chunk in chunks]


def find_headings(page: PageText) -> Iterator[str]:
    """Yield the headings among the first lines of a page: short, capitalised, and nearly without digits."""
    lines = (line.strip() for section in page.sections for line in section.splitlines())
    first = (line for line in lines if line)
    for _, line in zip(range(LINES), first, strict=False):
        if _is_heading(line):
            yield line


def _list_lexemes(page: PageText, language: str) -> Iterator[str]:
    """Yield the words of the headings of a page, each in the form that passages have first. Stop words have none."""
    for line in find_headings(page):
        for word in split(line):
            if word.kind == Kind.PLAIN:
                yield from find_forms(word.text, language)[:1]
            elif word.kind == Kind.PAIR:
                yield word.text


def _is_heading(line: str) -> bool:
    words = LETTERS.findall(line)
    if not words or not 3 <= len(line) <= LONGEST or line[-1] in ".,;":
        return False
    digits = sum(map(str.isdigit, line))
    # Short words, such as "and" and "of", are not capitalised in a heading.
    long = [word for word in words if len(word) > 3] or words[:1]
    return 5 * digits <= len(line) and 5 * sum(word[0].isupper() for word in long) >= 3 * len(long)
