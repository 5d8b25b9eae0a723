"""Stamps on scans: a scan with "Scanned with …" on every page has no text."""

import re
from collections.abc import Iterable, Iterator

from pipeline.stages.extract.format import ExtractedPage

LONGEST_STAMP = 120
"""Longest text of a page that may be a stamp, in characters."""
STAMP = re.compile(
    r"(?:scanned|digitized|digitised|created|made|converted|processed) (?:with|by|using|via|from) \S+(?: \S+){0,5}"
    r"|\S*cam ?scanner\S*",
    re.IGNORECASE,
)
"""What scanners and their programs write on a page: their name."""


def drop_stamps(pages: Iterable[ExtractedPage]) -> Iterator[ExtractedPage]:
    """Yield the pages, without their text if all pages of the document that have text have nothing but a stamp."""
    waiting: list[ExtractedPage] = []
    has_text = False
    for page in pages:
        has_text = has_text or not is_stamp("".join(page.sections))
        waiting.append(page)
        if has_text:
            yield from waiting
            waiting = []
    yield from (ExtractedPage([""], page.warnings) for page in waiting)


def is_stamp(text: str) -> bool:
    """Return True if a text is empty or a stamp."""
    words = " ".join(text.split())
    return not words or (len(words) <= LONGEST_STAMP and STAMP.fullmatch(words) is not None)
