"""The reading order of a page: lines by their places, where the order in which they were drawn contradicts it.

The order of drawing is kept wherever it is possible, because most programs draw in reading order, and cells of tables
and columns of prose look alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pipeline.stages.extract.pdf.lines import Line, is_prose

MAX_BLOCKS = 200
"""Largest number of blocks of a page that are brought in order. Pages with more stay as they were drawn."""
LINE_GAP = 1.6
"""Largest distance of two lines of a block, in heights of a line."""
WORD_GAP = 0.1
"""Smallest distance of two words, in heights of a line."""
CELL_GAP = 1.3
"""Largest distance of two lines of one cell of a table, in heights of a line."""
CELL_LINES = 6
"""Largest number of lines of a cell, after which the next cell of the row is drawn."""
SHORT_CELL = 24
"""Longest mean text of the cells in a column of a table, in characters. Columns of prose are wider."""


@dataclass(slots=True)
class _Block:
    """Rows of lines that were drawn one below the other."""

    rows: list[list[Line]]
    left: float = 0
    bottom: float = 0
    right: float = 0
    top: float = 0
    after: set[int] = field(default_factory=set)
    """Numbers of the blocks that come before this one."""

    def measure(self) -> None:
        lines = [line for row in self.rows for line in row]
        self.left, self.bottom = min(line.left for line in lines), min(line.bottom for line in lines)
        self.right, self.top = max(line.right for line in lines), max(line.top for line in lines)

    @property
    def is_cell(self) -> bool:
        """True if the block may be a single cell of a table: one line, or a few lines without a gap."""
        firsts = [row[0] for row in self.rows]
        gaps = [above.top - below.top for above, below in pairwise(firsts)]
        return len(gaps) < 1 or (len(gaps) < CELL_LINES and max(gaps) <= CELL_GAP * firsts[0].height)

    @property
    def mean_characters(self) -> float:
        return sum(len(line.text) for row in self.rows for line in row) / len(self.rows)


def is_ordered(lines: Sequence[Line]) -> bool:
    """Return True if each line is below the line before it, or beside it on its right."""
    return all(
        line.top <= above.top or (line.is_beside(above) and line.left >= above.left) for above, line in pairwise(lines)
    )


def join_rows(lines: Sequence[Line]) -> list[str]:
    """Return the texts of lines. A line that is beside the one before it, on its right, continues it."""
    rows: list[list[Line]] = []
    for line in lines:
        last = rows[-1][-1] if rows else None
        if last and line.is_beside(last) and line.left >= last.right - 0.5 * line.height:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [_join(row) for row in rows]


def _join(row: Sequence[Line]) -> str:
    """Return the text of lines beside each other. Without a gap, they are parts of one word."""
    text = row[0].text
    for before, line in pairwise(row):
        text += (" " if line.left - before.right > WORD_GAP * line.height else "") + line.text
    return text


def arrange(lines: Sequence[Line]) -> list[str]:
    """Return the texts of the rows of a page in reading order. `lines` are in the order of drawing.

    Takes time quadratic in the number of blocks, which is limited.
    """
    blocks = _find_blocks(lines)
    if len(blocks) <= MAX_BLOCKS:
        blocks = _sort(_join_columns(blocks))
    return [_join(row) for block in blocks for row in block.rows]


def _find_blocks(lines: Sequence[Line]) -> list[_Block]:
    blocks: list[_Block] = []
    for line in lines:
        if blocks and _continues(blocks[-1], line):
            rows = blocks[-1].rows
            last = rows[-1][-1]
            if line.is_beside(last) and line.left >= last.right - last.height:
                rows[-1].append(line)
            else:
                rows.append([line])
        else:
            blocks.append(_Block([[line]]))
    for block in blocks:
        block.measure()
    return blocks


def _continues(block: _Block, line: Line) -> bool:
    """Return True if a line is the next one of a block: on its right, below it, or in the same row of a table."""
    last = block.rows[-1][-1]
    if line.is_beside(last):
        return line.left >= last.right - last.height
    if line.top <= last.top:
        row = block.rows[-1]
        near = last.bottom - line.top <= LINE_GAP * max(line.height, last.height)
        return near and line.left <= row[-1].right and line.right >= row[0].left
    return line.left >= last.right and _is_in_row(block, line)


def _is_in_row(block: _Block, line: Line) -> bool:
    """Return True if a line goes back up within the height of the cell that was drawn before it."""
    below = block.rows[-1][-1]
    for row in reversed(block.rows[-CELL_LINES:]):
        if row[-1].top - below.top > CELL_GAP * line.height:
            return False
        below = row[-1]
        if below.top >= line.top - 0.5 * line.height:
            return True
    return False


def _join_columns(blocks: list[_Block]) -> list[_Block]:
    """Join blocks that are the columns of one table: side by side, with the same lines, and short cells."""
    joined: list[_Block] = []
    for block in blocks:
        table = next((found for found in joined if _is_column(found, block)), None)
        if table is None:
            joined.append(block)
            continue
        for row in block.rows:
            target = next(known for known in table.rows if known[0].is_beside(row[0]))
            target += row
            target.sort(key=lambda line: line.left)
        table.measure()
    return joined


def _is_column(table: _Block, block: _Block) -> bool:
    is_apart = block.left >= table.right or block.right <= table.left
    is_table = not (table.is_cell or block.is_cell) and min(block.mean_characters, table.mean_characters) <= SHORT_CELL
    if not (is_apart and is_table) or any(is_prose([row[0] for row in found.rows]) for found in (table, block)):
        return False
    return all(any(known[0].is_beside(row[0]) for known in table.rows) for row in block.rows)


def _sort(blocks: list[_Block]) -> list[_Block]:
    """Return the blocks so that each comes after those above it and those on its left, else in the order of drawing."""
    for number, block in enumerate(blocks):
        block.after = {other for other, found in enumerate(blocks) if other != number and _precedes(found, block)}
    for block in blocks:
        block.after |= _find_columns(blocks, block)
    _frame(blocks)
    waiting, done, result = list(range(len(blocks))), set[int](), list[_Block]()
    while waiting:
        following = next((number for number in waiting if blocks[number].after <= done), waiting[0])
        waiting.remove(following)
        done.add(following)
        result.append(blocks[following])
    return result


def _precedes(block: _Block, other: _Block) -> bool:
    is_above = block.bottom + block.top > other.bottom + other.top
    if min(block.right, other.right) - max(block.left, other.left) > 0:
        return is_above
    is_beside = min(block.top, other.top) - max(block.bottom, other.bottom) > 0
    return is_beside and block.right <= other.left


def _frame(blocks: list[_Block]) -> None:
    """Put single lines above all columns before them, and those below all columns after them."""
    columns = {number for number, block in enumerate(blocks) if len(block.rows) > 1}
    if not columns:
        return
    top, bottom = max(blocks[number].top for number in columns), min(blocks[number].bottom for number in columns)
    for number, block in enumerate(blocks):
        if block.bottom >= top:
            for column in columns:
                blocks[column].after.add(number)
        elif block.top <= bottom:
            block.after |= columns


def _find_columns(blocks: list[_Block], block: _Block) -> set[int]:
    """Return the numbers of the blocks in the column on the left of a column, below its top."""
    beside = [blocks[number] for number in block.after if _is_left_column(blocks[number], block)]
    if len(block.rows) < 2 or not beside:
        return set()
    column = beside[0]
    lower = [number for number, other in enumerate(blocks) if other.top <= column.bottom and _is_under(other, column)]
    wide = max((blocks[number].top for number in lower if blocks[number].right > block.left), default=float("-inf"))
    return {number for number in lower if blocks[number].right <= block.left and blocks[number].bottom >= wide}


def _is_left_column(other: _Block, block: _Block) -> bool:
    """Return True if a block of several lines is beside another one, on its left."""
    return len(other.rows) > 1 and other.right <= block.left and other.bottom <= block.top and other.top >= block.bottom


def _is_under(block: _Block, other: _Block) -> bool:
    return min(block.right, other.right) > max(block.left, other.left)
