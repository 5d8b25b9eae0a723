"""Files that are attached to a PDF. Each of a readable format is part of the text, under its name."""

import io
from collections.abc import Callable
from ctypes import POINTER, byref, c_ulong, cast, create_string_buffer
from dataclasses import dataclass
from pathlib import PurePosixPath

from pypdfium2 import PdfDocument
from pypdfium2.raw import (
    FPDF_WCHAR,
    FPDFAttachment_GetFile,
    FPDFAttachment_GetName,
    FPDFDoc_GetAttachment,
    FPDFDoc_GetAttachmentCount,
)

from pipeline.stages.extract import find_formats
from pipeline.stages.extract.format import Extraction, Format, SourceFile
from pipeline.types import PageWarning, WarningCode

MAX_ATTACHMENTS = 50
"""Largest number of attachments that are read."""
MAX_BYTES = 32 * 1024 * 1024
"""Largest size of all attachments that are read, in bytes."""
MAX_WARNINGS = 10
LONGEST_NAME = 200
HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attached file: its name, and its text or None if it cannot be read."""

    name: str
    text: str | None


class AttachmentReader:
    """Reads the files that are attached to a document and to its pages."""

    def __init__(self, read_pdf: Callable[[SourceFile], Extraction]) -> None:
        """Begin without files. `read_pdf` reads those that are PDFs, without their attachments."""
        self._read_pdf = read_pdf
        self._bytes_left = MAX_BYTES
        self._found: dict[Attachment, None] = {}

    def read_all(self, document: PdfDocument) -> list[Attachment]:
        """Read the files that are attached to a document. Return them, and those of `read` before them."""
        for number in range(min(max(FPDFDoc_GetAttachmentCount(document), 0), MAX_ATTACHMENTS)):
            self.read(FPDFDoc_GetAttachment(document, number))
        return list(self._found)

    def read(self, handle: object) -> None:
        """Read one attached file. The same file counts once."""
        if len(self._found) >= MAX_ATTACHMENTS:
            return
        name = _read_name(handle)
        known = _find_format(name)
        size = c_ulong()
        if self._bytes_left >= 0 and known:
            FPDFAttachment_GetFile(handle, None, 0, byref(size))  # inflates the whole file
        self._bytes_left -= size.value
        text = None
        if self._bytes_left >= 0 and size.value and known:
            content = create_string_buffer(size.value)
            FPDFAttachment_GetFile(handle, content, size.value, byref(size))
            text = _read(known, content.raw, self._read_pdf)
        self._found[Attachment(name, text)] = None


def warn(name: str) -> PageWarning:
    """Return the warning about an attachment that is not part of the text."""
    message = f"The attached file {name} was not read. Upload it on its own."
    return PageWarning(WarningCode.TEXT_NOT_EXTRACTED, message)


def _read_name(attachment: object) -> str:
    """Return the name of an attachment, without its folder and without characters that cannot be shown."""
    size = FPDFAttachment_GetName(attachment, None, 0)
    room = create_string_buffer(max(size, 2))
    FPDFAttachment_GetName(attachment, cast(room, POINTER(FPDF_WCHAR)), size)
    name = room.raw[: max(size - 2, 0)].decode("utf-16-le", "replace").replace("\\", "/").rpartition("/")[2]
    return "".join(filter(str.isprintable, name))[:LONGEST_NAME] or "without a name"


def _find_format(name: str) -> Format | None:
    extension = PurePosixPath(name).suffix.lower()
    return next((known for known in find_formats() if extension in known.extensions), None)


def _read(known: Format, content: bytes, read_pdf: Callable[[SourceFile], Extraction]) -> str | None:
    if not known.admits(content[:HEAD_BYTES]):
        return None
    reader = read_pdf if known.media_type == "application/pdf" else known.readers[0]
    file = SourceFile(io.BytesIO(content), is_embedded=True)
    try:
        pages = ["".join(page.sections).strip() for page in reader(file).pages]
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - readers raise any exception on a broken file; the document itself is readable
        return None
    return "\n\n".join(filter(None, pages)) or None
