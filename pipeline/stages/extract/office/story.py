"""Lines of text from the paragraphs, tables, text boxes and notes of a Word document."""

import re
from dataclasses import dataclass, field
from enum import Enum

from pipeline.stages.extract.format import Block
from pipeline.stages.extract.layout import PARAGRAPH

MAX_REPEATED = 200
"""Longest text of a merged cell, in characters, that is repeated in each of its rows."""
MAX_ROW = 2000
"""Longest row, in characters, that becomes one line. A longer one is a layout, and its paragraphs stay apart."""
REPEAT_HEADER_AFTER = 1000
"""Characters of a table after which its header rows are repeated, so that each passage has them."""
PART = 400
"""Characters of a table after which an empty line follows a row. Passages are cut there, so rows stay whole."""
MAX_HEADER = 300
"""Longest header, in characters, that is repeated."""
SPACES = re.compile(r"[ \t\r\f\v]+")


MAX_DEPTH = 50
"""How deep cells and text boxes may lie in each other. Deeper ones are read as part of the one around them."""


class Kind(Enum):
    """What a line is."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    ITEM = "item"
    """A paragraph of a list."""
    ROW = "row"
    """A row of a table."""


TIGHT = (Kind.ITEM, Kind.ROW)
"""Neighbours of these kinds are lines of one paragraph."""


@dataclass(frozen=True, slots=True)
class Line:
    """A paragraph, a heading, an item of a list or a row of a table."""

    text: str
    kind: Kind = Kind.PARAGRAPH
    is_first: bool = False
    """True if the line is the first of its list or table, even if one precedes it."""


@dataclass(slots=True)
class _Paragraph:
    kind: Kind
    label: str
    continues: bool
    pieces: list[str] = field(default_factory=list)
    later: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class _Container:
    """The body, a cell, a text box or a note."""

    lines: list[Line] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    """Pieces of a paragraph that the next one continues."""
    has_table: bool = False


@dataclass(slots=True)
class _Cell:
    column: int
    lines: list[Line]
    has_table: bool
    is_continued: bool
    """True if the cell is merged with the one above it."""

    @property
    def text(self) -> str:
        return " ".join(" ".join(line.text for line in self.lines).split())


@dataclass(slots=True)
class _Row:
    is_header: bool
    column: int = 0
    cells: list[_Cell] = field(default_factory=list)


@dataclass(slots=True)
class _Table:
    rows: list[_Row] = field(default_factory=list)
    above: dict[int, str] = field(default_factory=dict)
    """Texts of merged cells that the next rows may repeat, by column."""
    header: list[str] = field(default_factory=list)
    header_length: int = 0
    has_body: bool = False
    part: int | None = None
    """Characters since the last empty line. None at the begin of the table."""
    length: int = 0
    """Characters since the header."""


class Story:
    """Composes lines. Each `begin` has its `end`; both are called in the order of the document."""

    def __init__(self) -> None:
        self._containers = [_Container()]
        self._paragraphs = [_Paragraph(Kind.PARAGRAPH, "", continues=False)]
        self._tables: list[_Table] = []
        self._notes: list[Line] = []
        self.endnotes: list[Line] = []

    @property
    def is_full(self) -> bool:
        """True if a cell or text box would lie too deep."""
        return len(self._containers) > MAX_DEPTH

    @property
    def is_in_cell(self) -> bool:
        """True inside a table."""
        return bool(self._tables)

    @property
    def has_row(self) -> bool:
        """True inside a row of the current table."""
        return bool(self._tables and self._tables[-1].rows)

    @property
    def pieces(self) -> list[str]:
        """Pieces of text of the current paragraph."""
        return self._paragraphs[-1].pieces

    def begin_paragraph(self, kind: Kind, label: str, *, continues: bool) -> None:
        """Begin a paragraph with the number `label`. The next one continues it if `continues` is True."""
        carried = self._containers[-1].carried
        self._containers[-1].carried = []
        self._paragraphs.append(_Paragraph(kind, label, continues, carried))

    def end_paragraph(self) -> None:
        """End a paragraph. What was anchored in it follows."""
        paragraph = self._paragraphs.pop()
        container = self._containers[-1]
        if paragraph.continues:
            container.carried = paragraph.pieces
        else:
            self._add_line(paragraph)
        container.lines += paragraph.later
        self._release_notes()

    def begin_box(self) -> None:
        """Begin a text box, whose text follows the paragraph it is anchored in."""
        self._containers.append(_Container())
        self._paragraphs.append(_Paragraph(Kind.PARAGRAPH, "", continues=False))

    def end_box(self) -> None:
        """End a text box."""
        lines = self._end_container().lines
        self._paragraphs[-1].later += lines

    def begin_note(self) -> None:
        """Begin a footnote or endnote."""
        self.begin_box()

    def end_note(self, label: str, *, is_endnote: bool) -> None:
        """End a note with the mark `label`, such as `[1]`.

        A footnote follows the paragraph or table that refers to it, an endnote ends the document.
        """
        text = " ".join(line.text for line in self._end_container().lines)
        (self.endnotes if is_endnote else self._notes).append(Line(f"{label} {text}" if label else text))

    def add_later(self, lines: list[Line]) -> None:
        """Add lines after the current paragraph."""
        self._paragraphs[-1].later += lines

    def add_lines(self, lines: list[Line]) -> None:
        """Add lines here."""
        self._containers[-1].lines += lines

    def begin_table(self) -> None:
        """Begin a table."""
        self._containers[-1].has_table = True
        self._tables.append(_Table())

    def end_table(self) -> None:
        """End a table."""
        self._tables.pop()
        self._release_notes()

    def begin_row(self, *, is_header: bool, column: int) -> None:
        """Begin a row after `column` empty columns."""
        self._tables[-1].rows.append(_Row(is_header, column))

    def begin_cell(self) -> None:
        """Begin a cell."""
        self.begin_box()

    def end_cell(self, span: int, *, begins_merge: bool, continues_merge: bool) -> None:
        """End a cell that is `span` columns wide."""
        container = self._end_container()
        table = self._tables[-1]
        row = table.rows[-1]
        cell = _Cell(row.column, container.lines, container.has_table, continues_merge)
        if begins_merge:
            table.above[row.column] = cell.text[: MAX_REPEATED + 1]
        elif not continues_merge:
            table.above.pop(row.column, None)
        row.column += span
        row.cells.append(cell)

    def end_row(self) -> None:
        """End a row: one line, or the lines of its cells if the table is there for the layout."""
        table = self._tables[-1]
        row = table.rows.pop()
        cells = [cell for cell in row.cells if cell.lines]
        if _is_layout(cells):
            self._containers[-1].lines += [line for cell in cells for line in _spread(cell)]
            table.part = None
            return
        texts = (self._fill(table, cell) for cell in row.cells)
        text = " ".join(text for text in texts if text)
        if text:
            self._add_row(table, text, is_header=row.is_header)

    def finish(self) -> list[Line]:
        """Return all lines but those of endnotes."""
        return self._end_container().lines

    def _fill(self, table: _Table, cell: _Cell) -> str:
        above = table.above.get(cell.column, "")
        return above if cell.is_continued and len(above) <= MAX_REPEATED else cell.text

    def _add_row(self, table: _Table, text: str, *, is_header: bool) -> None:
        lines = self._containers[-1].lines
        if is_header and not table.has_body:
            table.header_length += len(text)
            if table.header_length <= MAX_HEADER:
                table.header.append(text)
        else:
            table.has_body = True
            if table.length > REPEAT_HEADER_AFTER and 0 < table.header_length <= MAX_HEADER:
                lines += [Line(header, Kind.ROW, is_first=not place) for place, header in enumerate(table.header)]
                table.length, table.part = 0, 0
        is_first = table.part is None or table.part > PART
        lines.append(Line(text, Kind.ROW, is_first=is_first))
        table.part = len(text) + (table.part if table.part is not None and not is_first else 0)
        table.length += len(text)

    def _add_line(self, paragraph: _Paragraph) -> None:
        text = tidy("".join(paragraph.pieces))
        if text:
            text = f"{paragraph.label} {text}" if paragraph.label else text
            self._containers[-1].lines.append(Line(text, paragraph.kind))

    def _end_container(self) -> _Container:
        """Close the current container, with the text in it that is in no paragraph."""
        container = self._containers.pop()
        stray = self._paragraphs.pop()
        text = tidy("".join([*container.carried, *stray.pieces]))
        container.lines += [*([Line(text)] if text else []), *stray.later]
        return container

    def _release_notes(self) -> None:
        if len(self._containers) == 1:
            self._containers[0].lines += self._notes
            self._notes.clear()


def tidy(text: str) -> str:
    """Return the text with single spaces, and without spaces at the ends of its lines."""
    return "\n".join(stripped for line in text.split("\n") if (stripped := SPACES.sub(" ", line).strip()))


def to_blocks(lines: list[Line]) -> list[Block]:
    """Return lines as blocks, with empty lines around all but neighbouring items and rows."""
    blocks: list[Block] = []
    before: Line | None = None
    for line in lines:
        if before is not None:
            is_tight = before.kind is line.kind and line.kind in TIGHT and not line.is_first
            blocks.append(Block("\n" if is_tight else PARAGRAPH))
        blocks.append(Block(line.text, line.kind is Kind.HEADING))
        before = line
    return blocks


def _is_layout(cells: list[_Cell]) -> bool:
    """Return True if cells contain tables or headings with text, or much text."""
    length = sum(len(line.text) for cell in cells for line in cell.lines)
    return length > MAX_ROW or any(
        cell.has_table
        or (any(line.kind is Kind.HEADING for line in cell.lines) and (len(cell.lines) > 1 or len(cells) == 1))
        for cell in cells
    )


def _spread(cell: _Cell) -> list[Line]:
    first = cell.lines[0]
    return [Line(first.text, first.kind, is_first=True), *cell.lines[1:]]
