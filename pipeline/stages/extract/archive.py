"""Zip archives, of which DOCX, PPTX and EPUB are made, read as if every one were an attack.

Parts are inflated into memory alone, each by its exact name, and never before their sizes were looked at.
"""

import io
import posixpath
import stat
import zlib
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pipeline.errors import FailureCode, IngestionError

MAX_ENTRIES = 10_000
MAX_PART_BYTES = 32 * 1024 * 1024
MAX_BYTES = 128 * 1024 * 1024
"""Most that is inflated of one file, what is inflated twice counted twice."""
MAX_RATIO = 500
"""Most that a part of some size may inflate by: a document comes to 300 where it says one thing again and again."""
SMALL_BYTES = 1024 * 1024
"""Of parts that are no larger the ratio is not looked at."""
ENTRY_SIGNATURE = b"PK\x01\x02"
LOCAL_HEADER_BYTES = 30
ENCRYPTED_FLAG = 0x1
SIGNATURE = b"PK\x03\x04"
COMPOUND_SIGNATURE = b"\xd0\xcf\x11\xe0"
"""Of Microsoft's older container, in which its programs put a file that has a password."""
ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")


class Archive:
    """The parts of a zip archive."""

    def __init__(self, file: BinaryIO) -> None:
        """Open an archive and look through its directory.

        Raises IngestionError where it is damaged, encrypted, too large, or made to deceive.
        """
        data = file.read()
        _refuse_compound(data)
        # Before the directory is read: a million entries take their time. Never less than there are entries.
        if data.count(ENTRY_SIGNATURE) > MAX_ENTRIES:
            raise _too_large(f"has over {MAX_ENTRIES} parts")
        try:
            self._zip = ZipFile(io.BytesIO(data))
        except (BadZipFile, NotImplementedError, ValueError) as error:
            raise _malformed("is damaged") from error
        entries = self._zip.infolist()
        _check_directory(entries)
        self._entries = {entry.filename: entry for entry in entries}
        self._inflated = 0

    def names(self) -> list[str]:
        """Names of the parts, in the order of the directory."""
        return list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def read(self, name: str) -> bytes:
        """Inflate the part with exactly this name, to the size that the directory tells and no further.

        Raises IngestionError where there is none, it is damaged, or it is too large.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise _malformed("lacks a part that it names")
        self._check_size(entry)
        if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise _malformed("is compressed in a way that its format does not know")
        try:
            with self._zip.open(entry) as part:
                # With the size as its limit: without one the whole part would be inflated, and then be cut.
                data = part.read(entry.file_size)
        except (BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
            raise _malformed("is damaged") from error
        if len(data) != entry.file_size:
            raise _malformed("is damaged")
        return data

    def _check_size(self, entry: ZipInfo) -> None:
        size = entry.file_size
        self._inflated += size
        if size > MAX_PART_BYTES or self._inflated > MAX_BYTES:
            raise _too_large("has more in it than is read")
        if size > max(SMALL_BYTES, MAX_RATIO * entry.compress_size):
            raise _too_large("inflates far more than documents do")


def resolve(folder: str, reference: str) -> str:
    """Return the name of the part that a part in `folder` refers to; it never leads out of the archive."""
    return posixpath.normpath(posixpath.join("/", folder, reference)).lstrip("/")


def looks_like_zip(head: bytes) -> bool:
    """Whether a zip archive begins with these bytes."""
    return head.startswith(SIGNATURE)


def looks_like_office_file(head: bytes) -> bool:
    """Whether a zip archive begins with these bytes, or what may be one with a password."""
    return head.startswith((SIGNATURE, COMPOUND_SIGNATURE))


def _refuse_compound(data: bytes) -> None:
    if not data.startswith(COMPOUND_SIGNATURE):
        return
    if ENCRYPTED_STREAM in data:
        raise _encrypted()
    message = "The file is of an older format than its name says. Save it in the new one and upload that."
    raise IngestionError(FailureCode.MALFORMED, message)


def _check_directory(entries: list[ZipInfo]) -> None:
    if any(entry.flag_bits & ENCRYPTED_FLAG for entry in entries):
        raise _encrypted()
    if len({entry.filename for entry in entries}) < len(entries):
        raise _malformed("has two parts of one name")
    if not all(_is_plain(entry) for entry in entries):
        raise _malformed("has parts whose names lead out of it")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise _malformed("has parts that lie within each other")
        end = entry.header_offset + LOCAL_HEADER_BYTES + len(entry.orig_filename) + entry.compress_size


def _is_plain(entry: ZipInfo) -> bool:
    """Whether the name can only be that of a part within. Nothing is written by it in any case."""
    name = entry.orig_filename
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    return not (is_link or name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"))


def _malformed(fault: str) -> IngestionError:
    message = f"The archive that the file is made of {fault}. Open the file, save it anew and upload that."
    return IngestionError(FailureCode.MALFORMED, message)


def _too_large(fault: str) -> IngestionError:
    return IngestionError(FailureCode.TOO_LARGE, f"The archive that the file is made of {fault}. Split the file.")


def _encrypted() -> IngestionError:
    return IngestionError(FailureCode.ENCRYPTED, "The file is protected by a password. Upload it without the password.")
