"""ZIP archives, the containers of DOCX, PPTX and EPUB, read as untrusted input.

Parts are inflated in memory only, by their exact names, after their declared sizes have been checked.
"""

import io
import posixpath
import stat
import zlib
from typing import BinaryIO
from urllib.parse import unquote
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pipeline.errors import FailureCode, IngestionError

MAX_ENTRIES = 10_000
"""Maximum number of parts of one archive."""
MAX_PART_BYTES = 32 * 1024 * 1024
"""Largest inflated part, in bytes."""
MAX_BYTES = 128 * 1024 * 1024
"""Maximum number of bytes inflated from one archive. A part that is read twice counts twice."""
MAX_RATIO = 500
"""Highest compression ratio of a part. Documents reach 300 if they repeat the same text."""
SMALL_BYTES = 1024 * 1024
"""Inflated size, in bytes, up to which the compression ratio is not checked."""
ENTRY_SIGNATURE = b"PK\x01\x02"
LOCAL_HEADER_BYTES = 30
ENCRYPTED_FLAG = 0x1
SIGNATURE = b"PK\x03\x04"
COMPOUND_SIGNATURE = b"\xd0\xcf\x11\xe0"
"""Start of a compound file, Microsoft's older container. Office puts files with a password into one."""
ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")


class Archive:
    """The parts of a ZIP archive (PKWARE APPNOTE)."""

    def __init__(self, file: BinaryIO) -> None:
        """Open an archive and check its directory.

        Raises IngestionError if the archive is damaged, encrypted, too large, or built to deceive a reader.
        """
        data = file.read()
        _refuse_compound(data)
        # Counted before the directory is parsed, because parsing a million entries takes long. Never too low.
        if data.count(ENTRY_SIGNATURE) > MAX_ENTRIES:
            raise _too_large(f"has more than {MAX_ENTRIES} parts")
        try:
            self._zip = ZipFile(io.BytesIO(data))
        except (BadZipFile, NotImplementedError, ValueError) as error:
            raise _malformed("is damaged") from error
        entries = self._zip.infolist()
        _check_directory(entries)
        self._entries = {entry.filename: entry for entry in entries}
        self._folded: dict[str, str] = {}
        self._inflated = 0

    def names(self) -> list[str]:
        """Return the names of the parts, in the order of the directory."""
        return list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def find(self, name: str) -> str:
        """Return the part that a reference means: one with its name, or with its name decoded or in another case.

        If there is none, return the reference itself.
        """
        if name in self._entries:
            return name
        if not self._folded:
            self._folded = {each.lower(): each for each in self._entries}
        return next((self._folded[key] for key in (name.lower(), unquote(name).lower()) if key in self._folded), name)

    def read(self, name: str, max_bytes: int = MAX_PART_BYTES) -> bytes:
        """Inflate the part with exactly this name, up to the size that the directory declares.

        Raises IngestionError if the part is missing, damaged or larger than `max_bytes`.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise _malformed("lacks a part that it refers to")
        self._check_size(entry, max_bytes)
        if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise _malformed("uses an unsupported compression method")
        try:
            with self._zip.open(entry) as part:
                # read() without a size would inflate the whole part before cutting it to the declared size.
                data = part.read(entry.file_size)
        except (BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
            raise _malformed("is damaged") from error
        if len(data) != entry.file_size:
            raise _malformed("is damaged")
        return data

    def _check_size(self, entry: ZipInfo, max_bytes: int) -> None:
        size = entry.file_size
        self._inflated += size
        if size > max_bytes or self._inflated > MAX_BYTES:
            raise _too_large("inflates to more data than the limit allows")
        if size > max(SMALL_BYTES, MAX_RATIO * entry.compress_size):
            raise _too_large("is compressed far more than documents are")


def resolve(folder: str, reference: str) -> str:
    """Return the name of the part that a part in `folder` refers to. It never leads out of the archive."""
    return posixpath.normpath(posixpath.join("/", folder, reference)).lstrip("/")


def looks_like_zip(head: bytes) -> bool:
    """Return True if these are the first bytes of a ZIP archive."""
    return head.startswith(SIGNATURE)


def looks_like_office_file(head: bytes) -> bool:
    """Return True if these are the first bytes of a ZIP archive, or of a compound file, which may have a password."""
    return head.startswith((SIGNATURE, COMPOUND_SIGNATURE))


def _refuse_compound(data: bytes) -> None:
    if not data.startswith(COMPOUND_SIGNATURE):
        return
    if ENCRYPTED_STREAM in data:
        raise _encrypted()
    message = "The file has an older Office format than its name says. Save it in the current format and upload it."
    raise IngestionError(FailureCode.MALFORMED, message)


def _check_directory(entries: list[ZipInfo]) -> None:
    if any(entry.flag_bits & ENCRYPTED_FLAG for entry in entries):
        raise _encrypted()
    if len({entry.filename for entry in entries}) < len(entries):
        raise _malformed("has two parts with the same name")
    if not all(_is_plain(entry) for entry in entries):
        raise _malformed("has a part whose name leads out of the archive")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise _malformed("has parts that overlap")
        end = entry.header_offset + LOCAL_HEADER_BYTES + len(entry.orig_filename) + entry.compress_size


def _is_plain(entry: ZipInfo) -> bool:
    """Return True if the entry is not a link and its name stays within the archive. It is never written to disk."""
    name = entry.orig_filename
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    return not (is_link or name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"))


def _malformed(fault: str) -> IngestionError:
    message = f"The file's ZIP archive {fault}. Open the file, save it again and upload the new copy."
    return IngestionError(FailureCode.MALFORMED, message)


def _too_large(fault: str) -> IngestionError:
    return IngestionError(FailureCode.TOO_LARGE, f"The file's ZIP archive {fault}. Split the file.")


def _encrypted() -> IngestionError:
    message = "The file is protected by a password. Remove the password and upload the file again."
    return IngestionError(FailureCode.ENCRYPTED, message)
