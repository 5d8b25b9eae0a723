"""XLS and XLSB, the binary formats of Excel (calamine): visible sheets with the values of their cells.

Files that other programs "save as Excel" under these names, though they are HTML or text, are read as what they are.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import COMPOUND_SIGNATURE, MAX_BYTES, SIGNATURE, Archive
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats import csv, html
from pipeline.stages.extract.formats.html import looks_like_html
from pipeline.stages.extract.formats.text import looks_like_text
from pipeline.stages.extract.number_format import show_plain
from pipeline.stages.extract.spreadsheet import MAX_COLUMNS, Range, Sheet, write_sheet

Value = int | float | str | bool | time | date | datetime | timedelta


def read(file: SourceFile) -> Extraction:
    """Read each visible sheet as a page.

    Raises IngestionError if the file is damaged, protected by a password, or too large.
    """
    data = file.content.read()
    file.content.seek(0)
    if not data.startswith((COMPOUND_SIGNATURE, SIGNATURE)):
        return html.read(file) if looks_like_html(data[:4096]) else csv.read(file)
    if data.startswith(SIGNATURE):
        _check_parts(data)
    with _translate_faults():
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    names = [
        sheet.name
        for sheet in book.sheets_metadata
        if sheet.visible == SheetVisibleEnum.Visible and sheet.typ == SheetTypeEnum.WorkSheet
    ]
    pages = (_read_sheet(book, name) for name in names)
    return Extraction(max(len(names), 1), pages if names else iter([ExtractedPage([""])]))


def _check_parts(data: bytes) -> None:
    """Inflate all parts within the limits, because calamine has none."""
    archive = Archive(io.BytesIO(data))
    for name in archive.names():
        archive.read(name, MAX_BYTES)


@contextmanager
def _translate_faults() -> Iterator[None]:
    """Raise what calamine raises as an IngestionError. Broken files make it panic, which is a BaseException."""
    try:
        yield
    except PasswordError as error:
        message = "The file is protected by a password. Remove the password and upload the file again."
        raise IngestionError(FailureCode.ENCRYPTED, message) from error
    except BaseException as error:
        if isinstance(error, CalamineError) or type(error).__name__ == "PanicException":
            message = "The file is damaged, or is not a workbook. Open it, save it as .xlsx and upload the new copy."
            raise IngestionError(FailureCode.MALFORMED, message) from error
        raise


def _read_sheet(book: CalamineWorkbook, name: str) -> ExtractedPage:
    sheet = Sheet(name)
    with _translate_faults():
        found = book.get_sheet_by_name(name)
        first, left = found.start or (0, 0)
        for index, row in enumerate(found.to_python(), start=first):
            if cells := dict(_show_cells(row, left)):
                sheet.add_row(index, cells)
        for (top, start), (bottom, end) in found.merged_cell_ranges or ():
            if end < MAX_COLUMNS:
                sheet.merged.append(Range(top, start, bottom, end))
    return write_sheet(sheet)


def _show_cells(row: list[Value], left: int) -> Iterator[tuple[int, str]]:
    for column, value in enumerate(row, start=left):
        if value != "" and (text := _show(value).strip()):
            yield column, text


def _show(value: Value) -> str:
    match value:
        case bool():
            return str(value).upper()
        case int() | float():
            return show_plain(value)
        case datetime():
            return value.isoformat(" ", "seconds")
        case timedelta():
            minutes = round(value.total_seconds() / 60)
            return f"{minutes // 60:02}:{minutes % 60:02}"
    return str(value)


def _looks_like_workbook(head: bytes) -> bool:
    return head.startswith((COMPOUND_SIGNATURE, SIGNATURE)) or looks_like_text(head)


FORMAT = Format(
    media_type="application/vnd.ms-excel",
    extensions=(".xls", ".xlt", ".xlsb"),
    aliases=(
        "application/vnd.ms-excel.sheet.binary.macroenabled.12",
        "application/excel",
        "application/x-excel",
        "application/x-msexcel",
        "text/html",
        "text/csv",
        "text/plain",
        "text/tab-separated-values",
    ),
    admits=_looks_like_workbook,
    readers=(read,),
    no_text="The visible sheets have no cell with text. Show hidden sheets, or check that it is the right file.",
)
