"""Receive a file: check its name and format, and keep its bytes on disk instead of in memory."""

import asyncio
import hashlib
import os
import re
import tempfile
import unicodedata
from contextlib import suppress
from pathlib import PurePosixPath

from pipeline.errors import FieldError, InvalidInput, TooLarge, translate_file_errors
from pipeline.stages.extract.identify import HEAD_BYTES, identify
from pipeline.types import ReceivedFile
from pipeline.use_cases.upload_room import UploadUnderWay

MAX_NAME_BYTES = 255
"""Longest file name, in bytes of UTF-8."""
FLUSH_BYTES = 1024 * 1024
"""Number of bytes that are buffered before they are written to disk."""
CHARSET_LABEL = re.compile(r"[A-Za-z0-9:_.()+-]{1,40}")
DISPLAY_ONLY = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Bidirectional controls, which can make one name look like another."""


def clean_filename(raw: str, field: str = "file") -> str:
    """Return the name to display: the last part of a path in NFC, without control characters, at most 255 bytes.

    Raises InvalidInput for this field if no characters are left.
    """
    name = raw.replace("\\", "/").rsplit("/", 1)[-1]
    name = unicodedata.normalize("NFC", name)
    name = "".join(char for char in name if unicodedata.category(char) not in {"Cc", "Cs"})
    name = DISPLAY_ONLY.sub("", name).strip()
    if name in {"", ".", ".."}:
        problem = FieldError(field, "needs a file name")
        raise InvalidInput("The upload has no usable file name. Send one with the file.", errors=(problem,))
    return _shorten(name)


def _shorten(name: str) -> str:
    """Cut a long name before its extension."""
    suffix = PurePosixPath(name).suffix.encode()[-32:]
    stem = name.encode()
    if len(stem) <= MAX_NAME_BYTES:
        return name
    return (stem[: MAX_NAME_BYTES - len(suffix)].decode(errors="ignore")) + suffix.decode(errors="ignore")


class Receiver:
    """Receives a file in pieces, counts and hashes its bytes, and keeps them in an unnamed temporary file."""

    def __init__(
        self, raw_filename: str, declared_type: str, charset: str | None, upload: UploadUnderWay, *, max_bytes: int
    ) -> None:
        """Prepare to receive a file of at most `max_bytes`. A `charset` that can be no label is ignored.

        Raises InvalidInput if the name is not usable, StorageFull if the disk is full, and TooManyFiles if no more
        files can be opened.
        """
        self._filename = clean_filename(raw_filename)
        self._declared_type = declared_type
        self._charset = charset if charset and CHARSET_LABEL.fullmatch(charset) else None
        self._upload = upload
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._size = 0
        self._head = b""
        self._buffer = bytearray()
        # The file has no name, so the kernel frees it even if this process crashes.
        with translate_file_errors():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the request

    async def write(self, data: bytes) -> None:
        """Add the next piece.

        Raises TooLarge if the file exceeds the limit, StorageFull if the disk is full, and TooManyRequests if the
        account's uploads leave too little room for others.
        """
        self._size += len(data)
        if self._size > self._max_bytes:
            raise TooLarge(f"The file is larger than the limit of {self._max_bytes} bytes. Split the file.")
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._buffer += data
        if len(self._buffer) >= FLUSH_BYTES:
            await self._flush()

    async def finish(self) -> ReceivedFile:
        """Return the complete file.

        Raises InvalidInput if it is empty, UnsupportedMedia if its format is not supported.
        """
        if self._size == 0:
            problem = FieldError("file", "is empty")
            raise InvalidInput("The file is empty. Upload a file with content.", errors=(problem,))
        media_type = identify(self._filename, self._declared_type, self._head)
        await self._flush()
        return ReceivedFile(self._filename, media_type, self._charset, self._size, self._hash.digest(), self._file)

    def close(self) -> None:
        """Close the file, which deletes it."""
        with suppress(OSError):  # closing flushes, which fails on a full disk
            self._file.close()

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        disk = os.fstatvfs(self._file.fileno())
        self._upload.take(len(data), disk.f_bavail * disk.f_frsize)
        await asyncio.to_thread(self._store, data)

    def _store(self, data: bytes) -> None:
        self._hash.update(data)
        with translate_file_errors():
            self._file.write(data)
            self._file.flush()
