"""Readers of PDF: pypdf examines the file, PDFium reads its text. If one of them fails, the other one reads it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

import pypdfium2
import pypdfium2.raw
from pypdf import PdfReader
from pypdfium2 import PdfDocument, PdfiumError

from pipeline.errors import IngestionError
from pipeline.stages.extract.format import ExtractedPage, Extraction, SourceFile
from pipeline.stages.extract.pdf.annotations import draw_appearances, read_annotations
from pipeline.stages.extract.pdf.attachments import MAX_WARNINGS, AttachmentReader, warn
from pipeline.stages.extract.pdf.page_list import encrypted, load_page, open_alike, open_with_pdfium, open_with_pypdf
from pipeline.stages.extract.pdf.page_text import PageText, read_text
from pipeline.stages.extract.pdf.readability import is_readable, restore_symbols
from pipeline.stages.extract.pdf.stamps import drop_stamps
from pipeline.stages.extract.pdf.visibility import HiddenShapes, mark_hidden_layers
from pipeline.stages.extract.pdf.xfa import NOT_RENDERED, is_placeholder, read_form, refuse_form
from pipeline.types import PageWarning, WarningCode

UNREADABLE = PageWarning(
    WarningCode.UNREADABLE_TEXT,
    "The page has a text that is not readable. Run text recognition (OCR) and upload the result.",
)


def read(file: SourceFile) -> Extraction:
    """Open a PDF with both readers, and the files that are attached to it. It must open with the empty password.

    pypdf checks the list of pages and finds faults. PDFium reads the text, 15 times faster. If PDFium finds no text on
    a page, or mistakes its lines for columns, pypdf reads the page as well.
    Raises IngestionError if the file needs a password, and any other exception if it is broken.
    """
    return _add_attachments(_open(file))


@dataclass(frozen=True, slots=True)
class _Opened(Extraction):
    """A file that PDFium has opened."""

    document: PdfDocument
    attachments: AttachmentReader


def _open(file: SourceFile) -> Extraction:
    """Open a PDF with both readers, without the files that are attached to it."""
    try:
        reader = open_with_pypdf(file.content)
    except IngestionError:
        raise
    except Exception:  # noqa: BLE001 - pypdf raises any exception on broken files, which PDFium may still read
        return _open_damaged(file)
    try:
        reader, document = open_alike(reader, file.content)
    except IngestionError:
        raise
    except PdfiumError:
        return _extract_by_pypdf(reader)
    except Exception:  # noqa: BLE001 - pypdf raises any exception on broken files, which PDFium may still read
        return _open_damaged(file)
    copy = _mark_hidden_layers(reader)
    if copy:
        reader, document = PdfReader(copy, strict=False), open_with_pdfium(copy, has_form=document.formenv is not None)
    attachments = AttachmentReader(_open)
    texts = _read_by_both(reader, document, attachments, has_hidden_layers=copy is not None)
    pages = _replace_placeholder(document, _check(texts))
    return _Opened(len(document), pages, document, attachments)


def _open_damaged(file: SourceFile) -> Extraction:
    """Open a PDF with PDFium alone, without the files that are attached to it."""
    try:
        document = open_with_pdfium(file.content)
    except PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise encrypted() from error
        raise
    attachments = AttachmentReader(_open)
    pages = _replace_placeholder(document, _check(_read_damaged(document, attachments)))
    return _Opened(len(document), pages, document, attachments)


def _add_attachments(opened: Extraction) -> Extraction:
    """Return the extraction. The last page gets the texts of the attached files, each as a section under its name."""
    return Extraction(opened.count, _append_attachments(opened)) if isinstance(opened, _Opened) else opened


def _append_attachments(opened: _Opened) -> Iterator[ExtractedPage]:
    pages = opened.pages
    last = next(pages, None)
    if last is None:
        return
    for page in pages:
        yield last
        last = page
    unread: list[str] = []
    for attachment in opened.attachments.read_all(opened.document):
        if attachment.text is None:
            unread.append(attachment.name)
        else:
            last.sections[-1] += "\n\n" if "".join(last.sections).strip() else ""
            last.sections.append(f"{attachment.name}\n{attachment.text}")
    warnings = [warn(name) for name in unread[:MAX_WARNINGS]]
    yield ExtractedPage(last.sections, [*last.warnings, *warnings])


def read_by_pypdf(file: SourceFile) -> Extraction:
    """Open a PDF with pypdf alone.

    Raises IngestionError if the file needs a password, and any other exception if it is broken.
    """
    return _extract_by_pypdf(open_with_pypdf(file.content))


def read_by_pdfium(file: SourceFile) -> Extraction:
    """Open a PDF with PDFium alone.

    Raises IngestionError if the file needs a password, PdfiumError if it is broken or has no text.
    """
    return _add_attachments(_open_damaged(file))


def _extract_by_pypdf(reader: PdfReader) -> Extraction:
    return Extraction(len(reader.pages), _refuse_placeholder(_check(page.extract_text() for page in reader.pages)))


def _check(texts: Iterable[str]) -> Iterator[ExtractedPage]:
    """Yield the pages with these texts. Unreadable text and stamps on scans do not count as text."""
    return drop_stamps(_drop_unreadable(restore_symbols(text)) for text in texts)


def _replace_placeholder(document: PdfDocument, pages: Iterable[ExtractedPage]) -> Iterator[ExtractedPage]:
    """Yield the pages. If the first one only asks to open the file in Acrobat, it gets the text of the form instead."""
    for number, page in enumerate(pages):
        if number == 0 and is_placeholder("".join(page.sections)):
            yield ExtractedPage([read_form(document)], [NOT_RENDERED])
        else:
            yield page


def _refuse_placeholder(pages: Iterable[ExtractedPage]) -> Iterator[ExtractedPage]:
    """Yield the pages, unless the first one only asks to open the file in Acrobat."""
    for number, page in enumerate(pages):
        if number == 0 and is_placeholder("".join(page.sections)):
            raise refuse_form()
        yield page


def _drop_unreadable(text: str) -> ExtractedPage:
    return ExtractedPage([text]) if is_readable(text) else ExtractedPage([""], [UNREADABLE])


def _read_by_both(
    reader: PdfReader, document: PdfDocument, attachments: AttachmentReader, *, has_hidden_layers: bool
) -> Iterator[str]:
    has_text = False
    failure: Exception | None = None
    for index in range(len(document)):
        try:
            found = _read_by_pdfium(document, index, attachments, has_hidden_layers=has_hidden_layers)
        except PdfiumError:
            found = PageText(reader.pages[index].extract_text(), is_sure=True)
        text = found.text
        if not found.is_sure:
            try:
                text = _add(reader.pages[index].extract_text(), found.typed) or text
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - pypdf raises any exception; keep the text that PDFium found
                failure = error
        has_text = has_text or bool(text.strip())
        yield text
    if failure and not has_text:
        raise failure


def _add(text: str, typed: str) -> str:
    return f"{text}\n{typed}" if text and typed else text


def _mark_hidden_layers(reader: PdfReader) -> BytesIO | None:
    try:
        return mark_hidden_layers(reader)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - pypdf raises any exception on broken files; then all layers are read
        return None


def _read_damaged(document: PdfDocument, attachments: AttachmentReader) -> Iterator[str]:
    """Yield the texts of the pages of a file that pypdf refuses. If none has text, the file is broken."""
    has_text = False
    for index in range(len(document)):
        text = _read_by_pdfium(document, index, attachments, has_hidden_layers=False).text
        has_text = has_text or bool(text.strip())
        yield text
    if not has_text:
        raise PdfiumError("a damaged file without text")


def _read_by_pdfium(
    document: PdfDocument, index: int, attachments: AttachmentReader, *, has_hidden_layers: bool
) -> PageText:
    """Return the text of a page, and read the files that are attached to it.

    Raises PdfiumError if the page cannot be loaded.
    """
    page = load_page(document, index)
    try:
        annotations = read_annotations(document, page)
        for file in annotations.files:
            attachments.read(file)
        if annotations.others:
            draw_appearances(page, annotations.others)
            page.close()
            page = load_page(document, index)
        return read_text(page, annotations.typed, HiddenShapes(page) if has_hidden_layers else None)
    finally:
        page.close()
