"""ODS (OpenDocument 1.3): the visible sheets, rows and columns, with the text that the cells show."""

import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import MAX_BYTES, Archive, looks_like_zip
from pipeline.stages.extract.format import Extraction, Format, SourceFile
from pipeline.stages.extract.spreadsheet import MAX_COLUMNS, MAX_REPEATED_CELLS, Range, Sheet, write_sheet
from pipeline.stages.extract.xml import Element, check, get_name

CONTENT = "content.xml"
MANIFEST = "META-INF/manifest.xml"
NUMBER = re.compile(r"[0-9]{1,9}")
MAX_ROWS = 1_048_576
MAX_REPEATED = 1000
"""Maximum number of times that a filled row or cell is repeated."""
MAX_SPACES = 100
"""Maximum number of spaces that one element stands for."""
HIDDEN = ("collapse", "filter")
SKIPPED = ("annotation", "ruby-text")
VALUES = ("string-value", "date-value", "boolean-value", "value")
"""Attributes with the value of a cell, for cells without the text they show."""
BREAKS = {"line-break": "\n", "tab": "\t"}


def read(file: SourceFile) -> Extraction:
    """Read each visible sheet as a page.

    Raises IngestionError if the file is damaged, protected by a password, or too large.
    """
    archive = Archive(file.content)
    if MANIFEST in archive and b"encryption-data" in archive.read(MANIFEST):
        message = "The file is protected by a password. Remove the password and upload the file again."
        raise IngestionError(FailureCode.ENCRYPTED, message)
    data = archive.read(CONTENT, MAX_BYTES)
    check(data)
    sheets = list(_read_sheets(data)) or [Sheet("")]
    return Extraction(len(sheets), map(write_sheet, sheets))


def _read_sheets(data: bytes) -> Iterator[Sheet]:
    hidden: set[str] = set()
    reader: _Reader | None = None
    repeated = 0
    for event, found in ElementTree.iterparse(io.BytesIO(data), ("start", "end")):  # noqa: S314 - `check` refuses declarations
        match event, get_name(found):
            case "end", "style" if _hides(found):
                hidden.add(_get(found, "name"))
            case "start", "table" if reader is None:
                reader = _Reader(Sheet(_get(found, "name")), _get(found, "style-name") not in hidden, repeated)
            case "end", "table-column" if reader:
                reader.add_column(found)
            case "end", "table-row" if reader:
                reader.add_row(found)
                found.clear()
            case "end", "shapes" if reader:
                reader.sheet.objects += _read_objects(found)
                found.clear()
            case "end", "table" if reader and _get(found, "name") == reader.sheet.name:
                if reader.is_visible:
                    yield reader.sheet
                repeated = reader.repeated
                reader = None


class _Reader:
    """Collects the rows of a sheet."""

    def __init__(self, sheet: Sheet, is_visible: bool, repeated: int) -> None:
        self.sheet = sheet
        self.is_visible = is_visible
        self.repeated = repeated
        """Number of cells that this sheet and those before it got by repetition."""
        self._row = 0
        self._column = 0

    def add_column(self, found: Element) -> None:
        """Note a column, or several ones."""
        end = min(self._column + _count(found, "number-columns-repeated"), MAX_COLUMNS)
        if _get(found, "visibility") in HIDDEN:
            self.sheet.hidden_columns |= set(range(self._column, end))
        self._column = end

    def add_row(self, found: Element) -> None:
        """Read a row, or several ones that are alike."""
        first, count = self._row, _count(found, "number-rows-repeated")
        self._row = min(first + count, MAX_ROWS)
        if _get(found, "visibility") in HIDDEN:
            self.sheet.hidden_rows.append(range(first, self._row))
        elif cells := self._read_cells(found, first):
            for row in range(first, min(first + self._limit(count, len(cells)), MAX_ROWS)):
                self.sheet.add_row(row, dict(cells))

    def _read_cells(self, found: Element, row: int) -> dict[int, str]:
        cells: dict[int, str] = {}
        column = 0
        for cell in found:
            count = _count(cell, "number-columns-repeated")
            self.sheet.objects += _read_objects(cell)
            if get_name(cell) == "table-cell" and (text := read_cell(cell)):
                repeated = range(column, min(column + self._limit(count, 1), MAX_COLUMNS))
                cells |= {index: text for index in repeated if index not in self.sheet.hidden_columns}
                self._note_merged(cell, row, column)
            column = min(column + count, MAX_COLUMNS)
        return cells

    def _limit(self, count: int, cells: int) -> int:
        """Return how many times cells are repeated. A small file could repeat its cells without end."""
        limited = min(count, MAX_REPEATED, 1 + (MAX_REPEATED_CELLS - self.repeated) // cells)
        self.repeated += (limited - 1) * cells
        return limited

    def _note_merged(self, cell: Element, row: int, column: int) -> None:
        rows, columns = _count(cell, "number-rows-spanned"), _count(cell, "number-columns-spanned")
        right = column + columns - 1
        if rows * columns > 1 and right < MAX_COLUMNS:
            self.sheet.merged.append(Range(row, column, row + rows - 1, right))


def read_cell(cell: Element) -> str:
    """Return the text that a cell shows, a line for each paragraph, without comments."""
    paragraphs = ("".join(_read_text(part)) for part in cell if get_name(part) == "p")
    return "\n".join(paragraphs).strip() or next(filter(None, (_get(cell, name) for name in VALUES)), "")


def _read_text(element: Element) -> Iterator[str]:
    yield element.text or ""
    for part in element:
        name = get_name(part)
        if name == "s":
            yield " " * min(_count(part, "c"), MAX_SPACES)
        elif name not in SKIPPED:
            yield BREAKS.get(name, "")
            yield from _read_text(part)
        yield part.tail or ""


def _read_objects(parent: Element) -> Iterator[str]:
    """Yield the comment of a cell, and the texts of shapes upon it."""
    for found in parent:
        name = get_name(found)
        if name in ("p", "table-row", "table-cell"):
            continue
        paragraphs = (" ".join("".join(_read_text(part)).split()) for part in found.iter() if get_name(part) == "p")
        text = " ".join(filter(None, paragraphs))
        author = "".join("".join(part.itertext()) for part in found if get_name(part) == "creator").strip()
        if text and name == "annotation":
            yield f"Comment by {author}: {text}" if author else f"Comment: {text}"
        elif text:
            yield text


def _hides(style: Element) -> bool:
    return any(get_name(part) == "table-properties" and _get(part, "display") == "false" for part in style)


def _get(found: Element, name: str) -> str:
    """Return an attribute by its name without a namespace."""
    return next((value for key, value in found.attrib.items() if key.rpartition("}")[2] == name), "")


def _count(found: Element, name: str) -> int:
    text = _get(found, name)
    return max(int(text), 1) if NUMBER.fullmatch(text) else 1


def looks_like_ods(head: bytes) -> bool:
    """Return True if a spreadsheet of OpenDocument begins with these bytes."""
    return looks_like_zip(head) and b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet" in head


FORMAT = Format(
    media_type="application/vnd.oasis.opendocument.spreadsheet",
    extensions=(".ods", ".ots"),
    aliases=(
        "application/vnd.oasis.opendocument.spreadsheet-template",
        "application/zip",
        "application/x-zip-compressed",
    ),
    admits=looks_like_zip,
    signature=looks_like_ods,
    readers=(read,),
    no_text="The visible sheets have no cell with text. Show hidden sheets, or check that it is the right file.",
)
