"""What a format module declares, what its readers return, and helpers that readers share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from unicodedata import normalize

MAX_SECTIONS = 10_000
"""Most sections of one page."""
MAX_MARKED = 10_000
"""Longest mark on a page, in letters."""


@dataclass(frozen=True)
class Mark:
    """Text to highlight on its page: its letters, as `keep_letters` returns them, and how many letters precede it."""

    letters: str
    before: int


@dataclass(frozen=True)
class Extraction:
    """The number of pages of an opened file, and the texts of the pages in order. A page is read when it is asked for.

    The text of a page is a list of sections, at least one. Joined, the sections are the text.
    """

    pages: int
    texts: Iterator[list[str]]


@dataclass(frozen=True)
class Format:
    """A file format: how to recognize it, and how to read it."""

    media_type: str
    """Canonical media type; stored with the document."""
    extensions: tuple[str, ...]
    """File name extensions, in lower case, with the dot."""
    readers: tuple[Callable[[BinaryIO], Extraction], ...]
    """Readers of a seekable file. The next one is tried if one breaks down.

    They raise IngestionError for faults they can tell apart, and any other exception for broken input."""
    admits: Callable[[bytes], bool]
    """Whether a file of this format can begin with these bytes, its first 4,096."""
    aliases: tuple[str, ...] = field(default=())
    """Other media types that clients declare for this format."""
    signature: Callable[[bytes], bool] | None = None
    """Whether a file that begins with these bytes is certainly of this format. None if the format has no signature."""
    draw: Callable[[BinaryIO, int, Mark | None], bytes] | None = None
    """Draw a page, counted from 1, as a PNG, and highlight a mark on it. None if the format has no page images.

    Raises any exception for broken input."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of text: part of a heading, or of the text between headings."""

    text: str
    is_heading: bool = False


def make_mark(text: str, start: int, end: int) -> Mark:
    """Return the mark of the characters `start` to `end` of a page with this text, cut to 10,000 letters."""
    return Mark(keep_letters(text[start:end])[:MAX_MARKED], len(keep_letters(text[:start])))


def keep_letters(text: str) -> str:
    """Return the letters and digits of a text, without accents, ligatures and case (NFKD, then case-folded).

    Two readers agree on these letters, even if they treat white space and hyphens differently.
    """
    return "".join(filter(str.isalnum, normalize("NFKD", text).casefold()))


def join_sections(blocks: Iterable[Block], max_sections: int = MAX_SECTIONS) -> list[str]:
    """Join blocks of text into sections. Each heading begins a section.

    A heading stays in the section of the heading before it if there is only white space between the two. After
    `max_sections` sections headings begin no more: a section has at least one chunk, and a file could consist of
    headings.
    """
    sections: list[list[str]] = [[]]
    has_body = False
    for block in blocks:
        if block.is_heading and has_body and len(sections) < max_sections:
            sections.append([])
            has_body = False
        sections[-1].append(block.text)
        has_body = has_body or (not block.is_heading and bool(block.text.strip()))
    return ["".join(section) for section in sections]


def clean(text: str) -> str:
    """Return the text without NUL and with lone surrogates replaced, so that PostgreSQL can store it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
