"""PDF, read by pypdf."""

from collections.abc import Iterator
from typing import BinaryIO

from pypdf import PasswordType, PdfReader

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.format import Extraction, Format

HEADER_WINDOW = 1024
"""Readers accept rubbish before the header, within the first kilobyte."""


def has_header(head: bytes) -> bool:
    """Whether a PDF begins within these bytes."""
    return b"%PDF-" in head[:HEADER_WINDOW]


def read(file: BinaryIO) -> Extraction:
    """Open a PDF; encrypted ones only where the empty password opens them."""
    reader = PdfReader(file, strict=False)
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise IngestionError(
            FailureCode.ENCRYPTED, "The PDF is protected by a password. Upload it without the password."
        )
    return Extraction(pages=len(reader.pages), texts=_read_pages(reader))


def _read_pages(reader: PdfReader) -> Iterator[str]:
    for page in reader.pages:
        yield page.extract_text()


FORMAT = Format(
    media_type="application/pdf",
    extensions=(".pdf",),
    aliases=("application/x-pdf",),
    signature=has_header,
    read=read,
)
