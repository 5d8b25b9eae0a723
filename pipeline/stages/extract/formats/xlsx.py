"""XLSX (ECMA-376): the visible sheets, rows and columns of a workbook, with the numbers as they are shown."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from pipeline.stages.extract.archive import MAX_BYTES, Archive, looks_like_office_file, looks_like_zip
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.number_format import BUILT_IN, show_number
from pipeline.stages.extract.office.sheet_objects import ObjectReader
from pipeline.stages.extract.opc import (
    Relationship,
    Skipped,
    find_related,
    open_package,
    read_optional,
    read_relationships,
)
from pipeline.stages.extract.spreadsheet import MAX_COLUMNS, Cells, Range, Sheet, write_sheet
from pipeline.stages.extract.xml import BrokenXml, Element, check, get_name, parse

MAIN_TYPES = (
    "vnd.openxmlformats-officedocument.spreadsheetml.sheet.main",
    "vnd.openxmlformats-officedocument.spreadsheetml.template.main",
    "vnd.ms-excel.sheet.macroenabled.main",
    "vnd.ms-excel.template.macroenabled.main",
)
REFERENCE = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})")
TRUE = ("1", "true", "on")
BOOLEANS = {"0": "FALSE", "1": "TRUE"}
ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
"""A character that XML cannot hold, as Excel writes it."""


def read(file: SourceFile) -> Extraction:
    """Read each visible sheet as a page.

    Raises IngestionError if the file is damaged, protected by a password, too large, or no workbook.
    """
    workbook = _Workbook(*open_package(file.content, MAIN_TYPES))
    sheets = workbook.list_sheets()
    return Extraction(max(len(sheets), 1), map(workbook.read_sheet, sheets) if sheets else iter([ExtractedPage([""])]))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A sheet as the workbook lists it: its name, and the name of its part."""

    name: str
    part: str


class _Workbook:
    """A workbook with its texts and number formats, which all sheets share."""

    def __init__(self, archive: Archive, main: str) -> None:
        self._archive = archive
        self._skipped = Skipped()
        self._root = parse(archive.read(main))
        self._related = read_relationships(archive, main, self._skipped)
        self._texts = self._read_texts()
        self._codes = self._read_codes()
        self._is_uncalculated = False
        self._since_1904 = any(
            get_name(found) == "workbookPr" and found.get("date1904") in TRUE for found in self._root
        )

    def list_sheets(self) -> list[_Entry]:
        """Return the visible sheets in order."""
        entries = []
        for found in self._root.iter():
            if get_name(found) == "sheet" and found.get("state", "visible") == "visible":
                related = self._related.get(_get_id(found), Relationship("", ""))
                entries.append(_Entry(found.get("name", ""), related.target))
        return entries

    def read_sheet(self, entry: _Entry) -> ExtractedPage:
        """Return the page of a sheet. If its part is missing or broken, say so."""
        skipped = Skipped()
        sheet = Sheet(entry.name)
        self._is_uncalculated = False
        try:
            self._fill(sheet, self._archive.read(entry.part, MAX_BYTES) if entry.part in self._archive else b"")
        except BrokenXml:
            skipped.note_missing()
        if self._is_uncalculated:
            skipped.note_uncalculated()
        sheet.objects += ObjectReader(self._archive, self._related, skipped).read(entry.part)
        page = write_sheet(sheet)
        return ExtractedPage(page.sections, [*self._skipped.warnings, *skipped.warnings])

    def _fill(self, sheet: Sheet, data: bytes) -> None:
        check(data)
        index = last_column = -1
        rows: Element | None = None
        for event, found in ElementTree.iterparse(io.BytesIO(data), ("start", "end")):  # noqa: S314 - `check` refuses declarations
            if event == "start":
                rows = found if get_name(found) == "sheetData" else rows
                continue
            match get_name(found):
                case "col" if found.get("hidden") in TRUE:
                    columns = _list_columns(found, last_column)
                    sheet.hidden_columns.update(columns)
                    last_column = max(last_column, columns.stop - 1)
                case "row":
                    index = _read_number(found.get("r"), index + 2) - 1
                    if found.get("hidden") in TRUE:
                        sheet.hidden_rows.append(range(index, index + 1))
                    elif cells := self._read_row(found, sheet.hidden_columns):
                        sheet.add_row(index, cells)
                    (rows if rows is not None else found).clear()
                case "mergeCell":
                    sheet.merged += _read_range(found.get("ref", ""))

    def _read_row(self, row: Element, hidden: set[int]) -> Cells:
        cells: Cells = {}
        column = -1
        for cell in row:
            column = _find_column(cell.get("r", ""), column + 1)
            if column not in hidden and column < MAX_COLUMNS and (text := self._show(cell).strip()):
                cells[column] = text
        return cells

    def _show(self, cell: Element) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _read_text(cell)
        value = next((part.text or "" for part in cell if get_name(part) == "v"), "")
        if not value:
            self._is_uncalculated |= kind != "str" and any(get_name(part) == "f" for part in cell)
            return ""
        match kind:
            case "s":
                index = _read_number(value, -1)
                return self._texts[index] if 0 <= index < len(self._texts) else ""
            case "b":
                return BOOLEANS.get(value, value)
            case "n":
                return self._show_number(value, _read_number(cell.get("s"), 0))
        return _unescape(value)

    def _show_number(self, value: str, style: int) -> str:
        try:
            number = float(value)
            return show_number(number, self._codes.get(style, ""), since_1904=self._since_1904)
        except (ValueError, OverflowError):
            return value

    def _read_texts(self) -> list[str]:
        root = self._read_part("sharedStrings")
        return [_read_text(found) for found in (root if root is not None else ())]

    def _read_codes(self) -> dict[int, str]:
        """Return the number formats of cells, by the index of their style."""
        root = self._read_part("styles")
        if root is None:
            return {}
        own = {
            _read_number(f.get("numFmtId"), 0): f.get("formatCode", "") for f in root.iter() if get_name(f) == "numFmt"
        }
        styles = (style for group in root if get_name(group) == "cellXfs" for style in group)
        ids = (_read_number(style.get("numFmtId"), 0) for style in styles)
        return {index: own.get(number, BUILT_IN.get(number, "")) for index, number in enumerate(ids)}

    def _read_part(self, kind: str) -> Element | None:
        parts = find_related(self._related, kind)
        return read_optional(self._archive, parts[0], self._skipped) if parts else None


def _get_id(found: Element) -> str:
    return next((value for name, value in found.attrib.items() if name.endswith("}id")), "")


def _read_text(item: Element) -> str:
    """Return the text of a shared or inline string, without readings beside characters."""
    parts = []
    for found in item:
        if get_name(found) == "t":
            parts.append(found.text or "")
        elif get_name(found) in ("r", "is"):
            parts.append(_read_text(found))
    return _unescape("".join(parts))


def _unescape(text: str) -> str:
    return ESCAPE.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _read_number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else default


def _find_column(reference: str, default: int) -> int:
    found = REFERENCE.fullmatch(reference)
    if not found:
        return default
    column = 0
    for letter in found[1]:
        column = column * 26 + ord(letter) - 64
    return column - 1


def _list_columns(found: Element, before: int) -> range:
    """Return the indexes of columns, which files list in order, without those up to `before`."""
    first, last = _read_number(found.get("min"), 1), _read_number(found.get("max"), 0)
    return range(max(first - 1, before + 1), min(last, MAX_COLUMNS))


def _read_range(reference: str) -> Iterator[Range]:
    corners = [found for found in map(REFERENCE.fullmatch, reference.split(":")) if found]
    if len(corners) == 2:
        (top, left), (bottom, right) = ((int(found[2]) - 1, _find_column(found[0], 0)) for found in corners)
        if max(left, right) < MAX_COLUMNS:
            yield Range(top, left, bottom, right)


def looks_like_xlsx(head: bytes) -> bool:
    """Return True if a workbook begins with these bytes."""
    return looks_like_zip(head) and b"xl/" in head


FORMAT = Format(
    media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    extensions=(".xlsx", ".xlsm", ".xltx", ".xltm"),
    aliases=(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
        "application/vnd.ms-excel.sheet.macroenabled.12",
        "application/vnd.ms-excel.template.macroenabled.12",
        "application/vnd.ms-excel",
        "application/zip",
        "application/x-zip-compressed",
    ),
    admits=looks_like_office_file,
    signature=looks_like_xlsx,
    readers=(read,),
    no_text="The visible sheets have no cell with text. Show hidden sheets, or check that it is the right file.",
)
