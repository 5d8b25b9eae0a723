"""What a format module says of itself, and what it yields."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(frozen=True)
class Extraction:
    """The pages of an opened file: how many, and their texts one after the other, made as they are read."""

    pages: int
    texts: Iterator[str]


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
    aliases: tuple[str, ...] = field(default=())
    """Other media types that clients declare for it."""
    signature: Callable[[bytes], bool] | None = None
    """Whether the first kilobyte can only be of this format; None where the content has no signature."""


def clean(text: str) -> str:
    """Return text that PostgreSQL can store: without NUL, lone surrogates replaced."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
