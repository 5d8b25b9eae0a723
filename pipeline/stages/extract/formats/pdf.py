"""PDF: judged by pypdf, its text read by PDFium, and each the second reader where the other breaks down."""

from collections.abc import Iterator
from typing import BinaryIO

import pypdfium2
import pypdfium2.raw
from pypdf import PasswordType, PdfReader
from pypdfium2 import PdfDocument, PdfiumError

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.format import Extraction, Format
from pipeline.stages.extract.page_image import draw

HEADER_WINDOW = 1024
"""Readers accept rubbish before the header, within the first kilobyte."""
HYPHEN_AT_LINE_END = "\x02"
"""So PDFium writes a hyphen, when it joins the line with the next."""
LONGEST_STRING = 32_767
"""PDFium drops without a word what a string holds behind so many bytes."""


def has_header(head: bytes) -> bool:
    """Whether a PDF begins within these bytes."""
    return b"%PDF-" in head[:HEADER_WINDOW]


def read(file: BinaryIO) -> Extraction:
    """Open a PDF with both readers; encrypted ones only where the empty password opens them.

    pypdf says what the file is and how many pages it has. PDFium reads their text, 15 times faster; where it finds
    none, or takes the lines of a page for columns, pypdf reads the page as well.
    """
    try:
        judge = _open_judge(file)
        pages = len(judge.pages)
    except IngestionError:
        raise
    except Exception:  # noqa: BLE001 - it raises anything at all on broken files, and need not have the last word
        return read_by_pdfium(file)
    try:
        document = PdfDocument(file)
    except PdfiumError:
        return _extract_by_pypdf(judge)
    return Extraction(pages=pages, texts=_read_by_both(judge, document))


def read_by_pypdf(file: BinaryIO) -> Extraction:
    """Open a PDF with pypdf alone."""
    return _extract_by_pypdf(_open_judge(file))


def read_by_pdfium(file: BinaryIO) -> Extraction:
    """Open a PDF with PDFium alone."""
    try:
        document = PdfDocument(file)
    except PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise _encrypted() from error
        raise
    return Extraction(pages=len(document), texts=_read_damaged(document))


def _open_judge(file: BinaryIO) -> PdfReader:
    reader = PdfReader(file, strict=False)
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise _encrypted()
    return reader


def _encrypted() -> IngestionError:
    message = "The PDF is protected by a password. Upload it without the password."
    return IngestionError(FailureCode.ENCRYPTED, message)


def _extract_by_pypdf(reader: PdfReader) -> Extraction:
    return Extraction(pages=len(reader.pages), texts=([page.extract_text()] for page in reader.pages))


def _read_by_both(reader: PdfReader, document: PdfDocument) -> Iterator[list[str]]:
    has_text = False
    failure: Exception | None = None
    for index in range(len(reader.pages)):
        try:
            text, is_sure = _read_by_pdfium(document, index)
        except PdfiumError:
            text, is_sure = reader.pages[index].extract_text(), True
        if not is_sure:
            try:
                text = reader.pages[index].extract_text() or text
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - as above; what PDFium has found may be all there is
                failure = error
        has_text = has_text or bool(text.strip())
        yield [text]
    if failure and not has_text:
        raise failure


def _read_damaged(document: PdfDocument) -> Iterator[list[str]]:
    """Pages of a file that pypdf refuses: without any text, that is what it is."""
    has_text = False
    for index in range(len(document)):
        text, _ = _read_by_pdfium(document, index)
        has_text = has_text or bool(text.strip())
        yield [text]
    if not has_text:
        raise PdfiumError("a damaged file without text")


def _read_by_pdfium(document: PdfDocument, index: int) -> tuple[str, bool]:
    """Text of a page, and whether that is likely to be right.

    Raises PdfiumError where the page cannot be loaded.
    """
    page = document[index]
    try:
        content = page.get_textpage()
        try:
            text, by_line = content.get_text_bounded(), content.get_text_range()
        finally:
            content.close()
    finally:
        page.close()
    # Where it takes lines for columns there is a line end after each letter, and in `text` no space between words.
    is_orderly = len(by_line) - len(text) <= len(text) // 50
    is_sure = bool(text.strip()) and is_orderly and len(by_line) < LONGEST_STRING
    return text.replace("\r\n", "\n").replace(HYPHEN_AT_LINE_END, "-\n"), is_sure


FORMAT = Format(
    media_type="application/pdf",
    extensions=(".pdf",),
    aliases=("application/x-pdf",),
    admits=has_header,
    signature=has_header,
    readers=(read, read_by_pypdf, read_by_pdfium),
    draw=draw,
)
