"""What a format module says of itself, and what it yields."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from unicodedata import normalize

MAX_SECTIONS = 10_000
"""Most sections of one page."""
MAX_MARKED = 10_000
"""Most letters of a page that are marked."""


@dataclass(frozen=True)
class Mark:
    """A passage to be marked on its page: its letters, as `keep_letters` has them, and how many stand before it."""

    letters: str
    before: int


@dataclass(frozen=True)
class Extraction:
    """The pages of an opened file: how many, and their texts one after the other, made as they are read.

    A text comes in its sections, at least one; joined they are the text.
    """

    pages: int
    texts: Iterator[list[str]]


@dataclass(frozen=True)
class Format:
    """A file format: how to know it, and how to read it."""

    media_type: str
    """Canonical; stored with the document."""
    extensions: tuple[str, ...]
    """Lower case, with the dot."""
    readers: tuple[Callable[[BinaryIO], Extraction], ...]
    """The reader of a seekable file, and those to be tried after it where it breaks down.

    They raise IngestionError for what can be told apart, and anything at all for broken input."""
    admits: Callable[[bytes], bool]
    """Whether a file of this format can begin with these bytes, its first four kilobytes."""
    aliases: tuple[str, ...] = field(default=())
    """Other media types that clients declare for it."""
    signature: Callable[[bytes], bool] | None = None
    """Whether what begins with these bytes can only be of this format; None where the content has no signature."""
    draw: Callable[[BinaryIO, int, Mark | None], bytes] | None = None
    """Draws a page, counted from 1, as a PNG, and marks a passage on it; None where there are no pages to be seen.

    Raises anything at all for broken input."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a text: of a heading, or of what stands between headings."""

    text: str
    is_heading: bool = False


def make_mark(text: str, start: int, end: int) -> Mark:
    """Return the mark of characters `start` to `end` of a page with this text."""
    return Mark(keep_letters(text[start:end])[:MAX_MARKED], len(keep_letters(text[:start])))


def keep_letters(text: str) -> str:
    """Letters and digits alone, in one of their forms: no accents, ligatures as letters, none of them capital.

    So texts can be compared whose white space and hyphens were changed, or read by another reader.
    """
    return "".join(filter(str.isalnum, normalize("NFKD", text).casefold()))


def join_sections(blocks: Iterable[Block], most: int = MAX_SECTIONS) -> list[str]:
    """Join pieces of a text to its sections, which headings begin.

    A heading with nothing but white space before the next one stays with it. Behind the first 10,000 sections, or
    `most`, headings begin no more: each is a passage at least, and so must not be as many as there are lines.
    """
    sections: list[list[str]] = [[]]
    has_body = False
    for block in blocks:
        if block.is_heading and has_body and len(sections) < most:
            sections.append([])
            has_body = False
        sections[-1].append(block.text)
        has_body = has_body or (not block.is_heading and bool(block.text.strip()))
    return ["".join(section) for section in sections]


def clean(text: str) -> str:
    """Return text that PostgreSQL can store: without NUL, lone surrogates replaced."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
