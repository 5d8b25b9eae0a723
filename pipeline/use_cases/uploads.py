"""Receiving a file: its name, its format, and its bytes on disk instead of in memory."""

import asyncio
import hashlib
import re
import tempfile
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath

from pipeline.errors import FieldError, InvalidInput, TooLarge, UnsupportedMedia, translate_full_disk
from pipeline.stages.extract import find_formats
from pipeline.stages.extract.format import Format
from pipeline.types import ReceivedFile

MAX_NAME_BYTES = 255
HEAD_BYTES = 4096
"""So much of a file is looked at to know its format."""
FLUSH_BYTES = 1024 * 1024
GENERIC_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown"})
DISPLAY_ONLY = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Bidirectional controls: they make a name look like another."""


def clean_filename(raw: str) -> str:
    """Return the name to display: the last part of a path, NFC, no control or bidi characters, 255 bytes at most.

    Raises InvalidInput where nothing is left of it.
    """
    name = raw.replace("\\", "/").rsplit("/", 1)[-1]
    name = unicodedata.normalize("NFC", name)
    name = "".join(char for char in name if unicodedata.category(char) not in {"Cc", "Cs"})
    name = DISPLAY_ONLY.sub("", name).strip()
    if name in {"", ".", ".."}:
        problem = FieldError("file", "needs a file name")
        raise InvalidInput("The upload has no usable file name.", errors=(problem,))
    return _shorten(name)


def _shorten(name: str) -> str:
    """Cut in the middle of a long name: the extension stays."""
    suffix = PurePosixPath(name).suffix.encode()[-32:]
    stem = name.encode()
    if len(stem) <= MAX_NAME_BYTES:
        return name
    return (stem[: MAX_NAME_BYTES - len(suffix)].decode(errors="ignore")) + suffix.decode(errors="ignore")


def identify(filename: str, declared_type: str, head: bytes) -> str:
    """Return the media type of a file by its extension, the client's word and its first four kilobytes.

    Raises UnsupportedMedia where these name no supported format, or disagree.
    """
    suffix = PurePosixPath(filename).suffix.lower()
    declared = declared_type.partition(";")[0].strip().lower()
    by_name = _find(lambda known: suffix in known.extensions)
    by_type = None if declared in GENERIC_TYPES else _find(lambda known: declared == known.media_type)
    by_alias = _find(lambda known: declared in known.aliases)
    by_content = _find(lambda known: known.signature is not None and known.signature(head))

    chosen = by_name or by_type or by_alias or by_content
    if chosen is None or (suffix and by_name is None):
        raise _unsupported("The file is of no supported format.")
    accepted = {*GENERIC_TYPES, chosen.media_type, *chosen.aliases}
    if declared not in accepted:
        raise _unsupported(f"The file is named {suffix or 'without extension'} but sent as {declared}.")
    if not chosen.admits(head):
        raise _unsupported(f"The file is named or sent as {chosen.media_type}, but its content is something else.")
    return chosen.media_type


def _find(condition: Callable[[Format], bool]) -> Format | None:
    """The one format that meets the condition; None where none does, or several do."""
    found = [known for known in find_formats() if condition(known)]
    return found[0] if len(found) == 1 else None


def _unsupported(reason: str) -> UnsupportedMedia:
    extensions = sorted(extension for known in find_formats() for extension in known.extensions)
    return UnsupportedMedia(f"{reason} Supported are {', '.join(extensions)}.")


class Receiver:
    """Takes a file in pieces, counts and hashes it, and keeps it in an unnamed temporary file."""

    def __init__(self, raw_filename: str, declared_type: str, *, max_bytes: int) -> None:
        """Begin a file.

        Raises InvalidInput where the name cannot be used, StorageFull where the disk is full.
        """
        self._filename = clean_filename(raw_filename)
        self._declared_type = declared_type
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._size = 0
        self._head = b""
        self._buffer = bytearray()
        # Unnamed from the start: nothing is left of it, however this process ends.
        with translate_full_disk():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the request

    async def write(self, data: bytes) -> None:
        """Add the next piece.

        Raises TooLarge where the file is over the limit, StorageFull where the disk is full.
        """
        self._size += len(data)
        if self._size > self._max_bytes:
            raise TooLarge(f"The file is larger than {self._max_bytes} bytes.")
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._buffer += data
        if len(self._buffer) >= FLUSH_BYTES:
            await self._flush()

    async def finish(self) -> ReceivedFile:
        """Return the whole file.

        Raises InvalidInput where it is empty, UnsupportedMedia where its format is none of ours.
        """
        if self._size == 0:
            raise InvalidInput("The file is empty.", errors=(FieldError("file", "is empty"),))
        media_type = identify(self._filename, self._declared_type, self._head)
        await self._flush()
        return ReceivedFile(self._filename, media_type, self._size, self._hash.digest(), self._file)

    def close(self) -> None:
        """Let the file go."""
        with suppress(OSError):  # what a full disk did not take
            self._file.close()

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        await asyncio.to_thread(self._store, data)

    def _store(self, data: bytes) -> None:
        self._hash.update(data)
        with translate_full_disk():
            self._file.write(data)
            self._file.flush()
