"""Spreadsheets as text: a sheet is a page, begun by its name, with a table for each block of filled cells."""

from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice, pairwise

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.format import ExtractedPage, limit_sections
from pipeline.stages.extract.layout import PARAGRAPH
from pipeline.stages.extract.table import SAMPLE_ROWS, Row, find_header, write_table

Table = dict[int, Row]
"""Rows by their indexes on the sheet."""
Cells = dict[int, str]
"""The filled cells of a row: the text of each, by the index of its column."""
MAX_COLUMNS = 16_384
"""Maximum number of columns of a sheet. Programs have no more."""
PASSAGE_CHARACTERS = 1300
"""Number of characters after which a section ends. A passage holds it and the line that names its rows."""
MAX_EMPTY = 50
"""Maximum number of cells of a table for each filled one."""
MAX_REPEATED_CELLS = 100_000
"""Maximum number of cells of a sheet that get the text of a merged or repeated cell."""
MAX_CHARACTERS = 50_000_000
"""Maximum number of characters in the cells of a sheet."""


@dataclass(frozen=True, slots=True)
class Range:
    """A merged cell: its first and last row and column, counted from 0."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(slots=True)
class Sheet:
    """The visible cells of a sheet, by the indexes of their rows, and its merged cells."""

    name: str
    rows: dict[int, Cells] = field(default_factory=dict)
    merged: list[Range] = field(default_factory=list)
    hidden_rows: list[range] = field(default_factory=list)
    hidden_columns: set[int] = field(default_factory=set)
    objects: list[str] = field(default_factory=list)
    """Paragraphs of what lies upon the cells, such as text boxes and comments."""
    characters: int = 0

    def add_row(self, index: int, cells: Cells) -> None:
        """Add the filled cells of a row.

        Raises IngestionError if the sheet has too much text. A file may refer to one long text from each cell.
        """
        self.rows[index] = cells
        self.count(cells)

    def count(self, cells: Cells) -> None:
        """Count the characters of cells. Raises IngestionError if the sheet has too much text."""
        self.characters += sum(map(len, cells.values()))
        if self.characters > MAX_CHARACTERS:
            message = f"A sheet has more than {MAX_CHARACTERS} characters of text. Split the sheet."
            raise IngestionError(FailureCode.TOO_LARGE, message)


def write_sheet(sheet: Sheet) -> ExtractedPage:
    """Return the page of a sheet. If no cell is filled and nothing lies upon the cells, it has no text."""
    _close_up(sheet)
    headers = _repeat_merged(sheet)
    name = " ".join(sheet.name.split())
    sections = [
        PARAGRAPH.join([_write_place(name, rows), *paragraphs])
        for rows, paragraphs in _group(_write_tables(_split(sheet, headers)))
    ]
    if objects := list(filter(None, sheet.objects)):
        sections.append(PARAGRAPH.join([name, *objects]))
    sections = [*(section + PARAGRAPH for section in sections[:-1]), *sections[-1:]]
    return ExtractedPage(limit_sections(sections) or [""])


def _write_tables(tables: Iterable[Table]) -> Iterator[tuple[range, str]]:
    """Yield the paragraphs of tables, and the indexes of the rows that they show."""
    for table in tables:
        indexes = list(table)
        for part in write_table(table.values()):
            yield range(indexes[part.first], indexes[part.last] + 1), part.text


def _group(paragraphs: Iterable[tuple[range, str]]) -> Iterator[tuple[range, list[str]]]:
    """Join paragraphs until a passage is full. Yield them with the range of their rows."""
    group: list[str] = []
    length = first = end = 0
    for rows, text in paragraphs:
        if group and length + len(text) > PASSAGE_CHARACTERS:
            yield range(first, end), group
            group, length = [], 0
        first, end = (min(first, rows.start), max(end, rows.stop)) if group else (rows.start, rows.stop)
        group.append(text)
        length += len(text) + len(PARAGRAPH)
    if group:
        yield range(first, end), group


def _write_place(name: str, rows: range) -> str:
    """Return the name of a sheet and the numbers of rows, as programs count them."""
    first, last = rows.start + 1, rows.stop
    numbers = f"row {first}" if first == last else f"rows {first} to {last}"
    return f"{name}, {numbers}" if name else numbers.capitalize()


def _close_up(sheet: Sheet) -> None:
    """Remove the hidden columns, so that they part nothing."""
    if not sheet.hidden_columns:
        return
    hidden = list(accumulate(column in sheet.hidden_columns for column in range(MAX_COLUMNS)))
    for index, cells in sheet.rows.items():
        sheet.rows[index] = {
            column - hidden[column]: text for column, text in cells.items() if column not in sheet.hidden_columns
        }
    sheet.merged = [
        Range(area.top, area.left - hidden[area.left], area.bottom, area.right - hidden[area.right])
        for area in sheet.merged
    ]


def _repeat_merged(sheet: Sheet) -> set[int]:
    """Repeat the text of merged cells in the cells they cover. Return the rows with a cell over several columns.

    A cell that is alone in its row is a title, and is not repeated beside itself.
    """
    headers = set()
    covered = 0
    for area in sheet.merged:
        if area.bottom < area.top or area.right < area.left:
            continue
        text = sheet.rows.get(area.top, {}).get(area.left)
        right = area.right if len(sheet.rows.get(area.top, {})) > 1 else area.left
        covered += (area.bottom - area.top + 1) * (right - area.left + 1)
        if not text or covered > MAX_REPEATED_CELLS:
            continue
        for row in range(area.top, area.bottom + 1):
            if row in sheet.rows:
                repeated = dict.fromkeys(range(area.left, right + 1), text)
                sheet.count(repeated)
                sheet.rows[row] |= repeated
        if right > area.left:
            headers.add(area.top)
    return headers


def _split(sheet: Sheet, headers: set[int]) -> Iterator[Table]:
    """Yield the tables of a sheet. Empty rows and columns part them, unless what is below has the columns of the above.

    Hidden rows part nothing.
    """
    above: Table = {}
    above_columns: list[tuple[int, int]] = []
    for block in _split_rows(sheet):
        filled = set(chain.from_iterable(sheet.rows[index] for index in block))
        columns = list(_find_runs(filled))
        tables = [_cut(sheet, block, headers, range(*run)) for run in columns]
        if columns == above_columns and len(tables) == 1 and _has_no_header(tables[0]):
            above |= tables[0]
            continue
        if above:
            yield above
        *complete, above = tables
        above_columns = columns
        yield from complete
    if above:
        yield above


def _has_no_header(table: Table) -> bool:
    return find_header([*islice(table.values(), SAMPLE_ROWS)]) is None


def _split_rows(sheet: Sheet) -> Iterator[list[int]]:
    """Yield the indexes of the filled rows between empty ones."""
    filled = sorted(sheet.rows)
    hidden = sorted(sheet.hidden_rows, key=lambda rows: rows.start)
    starts = [rows.start for rows in hidden]
    before = [0, *accumulate(map(len, hidden))]
    block: list[int] = []
    place = -1
    for index in filled:
        shown = index - before[bisect(starts, index)]
        if block and shown > place + 1:
            yield block
            block = []
        block.append(index)
        place = shown
    if block:
        yield block


def _find_runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first of consecutive numbers, and the number behind the last."""
    ordered = sorted(numbers)
    ends = [position for position, (number, later) in enumerate(pairwise(ordered), start=1) if later > number + 1]
    for start, end in pairwise([0, *ends, len(ordered)]):
        if end > start:
            yield ordered[start], ordered[end - 1] + 1


def _cut(sheet: Sheet, block: list[int], headers: set[int], columns: range) -> Table:
    """Return the rows of a block, cut to some columns. Rows without a value there are left out.

    If hardly any cell is filled, the rows have no empty cells.
    """
    count = sum(len(sheet.rows[index]) for index in block)
    if len(block) * len(columns) > MAX_EMPTY * count:
        rows = {i: [text for column, text in sorted(sheet.rows[i].items()) if column in columns] for i in block}
        return {index: row for index, row in rows.items() if row}
    filled = {index: [sheet.rows[index].get(column, "") for column in columns] for index in block}
    return dict(_join_headers({index: row for index, row in filled.items() if any(row)}, headers))


def _join_headers(rows: Table, headers: set[int]) -> Iterator[tuple[int, Row]]:
    """Yield rows with their indexes. A row of names over several columns is joined with the row of names below it."""
    remaining = iter(rows.items())
    for index, row in remaining:
        if index in headers and (below := next(remaining, None)):
            yield index, [" ".join(dict.fromkeys(filter(None, pair))) for pair in zip(row, below[1], strict=True)]
            headers = set()
        else:
            yield index, row
            # Below a row of names or values, merged cells are values.
            headers = set() if sum(map(bool, row)) > 1 else headers
