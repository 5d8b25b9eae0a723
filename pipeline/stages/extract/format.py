"""The declaration of a file format, the result of its readers, and helpers that readers share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from unicodedata import normalize

from pipeline.types import PageWarning

MAX_SECTIONS = 10_000
"""Maximum number of sections of one page."""
MAX_MARKED = 10_000
"""Longest mark on a page, in letters."""


@dataclass(frozen=True)
class Mark:
    """Text to highlight on its page: its letters, from `keep_letters`, and the number of letters before it."""

    letters: str
    before: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read. Its content is seekable and at its beginning."""

    content: BinaryIO
    charset: str | None = None
    """Label of the character set that was declared for the file, if any. It is not checked."""
    is_embedded: bool = False
    """True if the file is in another one, such as a mail. The files in it are then not read."""


@dataclass(frozen=True, slots=True)
class ExtractedPage:
    """The text of a page: a list of sections, at least one. Joined, the sections are the text."""

    sections: list[str]
    warnings: list[PageWarning] = field(default_factory=list)


@dataclass(frozen=True)
class Extraction:
    """The number of pages of an opened file, and the pages in order. Each is read on demand."""

    count: int
    pages: Iterator[ExtractedPage]


@dataclass(frozen=True)
class Format:
    """A file format: how to recognize it, and how to read it."""

    media_type: str
    """Canonical media type; stored with the document."""
    extensions: tuple[str, ...]
    """File name extensions, in lower case, with the dot."""
    readers: tuple[Callable[[SourceFile], Extraction], ...]
    """Readers of a file. If one fails with `malformed`, the next one is tried.

    They raise IngestionError for faults they recognize, and any other exception for broken input."""
    admits: Callable[[bytes], bool]
    """Returns True if a file of this format can begin with these bytes, its first 4,096."""
    aliases: tuple[str, ...] = field(default=())
    """Other media types that clients declare for this format."""
    signature: Callable[[bytes], bool] | None = None
    """Returns True if these first bytes prove that a file has this format. None if the format has no signature."""
    overrides_text: bool = False
    """True if the signature counts more than a name or a declared type of plain text."""
    no_text: str = "The file contains no text. Check that it is the right file."
    """What the owner of a file without text is told, and what to do."""
    draw: Callable[[BinaryIO, int, Mark | None], bytes] | None = None
    """Draws a page, counted from 1, as a PNG, and highlights a mark on it. None if the format has no page images.

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

    A heading stays in the section of the heading before it if only white space is between the two. Headings begin at
    most `max_sections` sections, because each section has a chunk, and a file could consist of headings alone.
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


def limit_sections(sections: list[str]) -> list[str]:
    """Return at most as many sections as a page may have. The last one has the rest."""
    rest = "".join(sections[MAX_SECTIONS - 1 :])
    return [*sections[: MAX_SECTIONS - 1], rest] if len(sections) > MAX_SECTIONS else sections


def clean(text: str) -> str:
    """Return the text without NUL and with lone surrogates replaced, so that PostgreSQL can store it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
