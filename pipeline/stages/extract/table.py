"""Tables as text: each value with the name of its column, so that a passage explains itself."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from statistics import median

from pipeline.stages.extract.layout import LINE, REPEAT_CHARACTERS

Row = list[str]
"""The cells of a row, without white space around them."""

SAMPLE_ROWS = 100
"""Number of rows that are examined to find the header."""
LONGEST_NAME = 200
"""Longest column name, in characters. A first row with longer cells is data, because every row repeats the names."""
NAMED_CHARACTERS = 1_000_000
"""Number of characters after which the names are repeated once a passage, and no longer before each value."""
REPEAT_SHARE = 4
"""Names are repeated once in at least this many times their own length."""
CERTAIN = 3
"""Weight of a number above numbers, or a word above them, beside the weight 1 of similar words."""
UNLIKELY = 2
"""Weight of a name that is also a value of its column."""
YEAR_DIGITS = 4
MOST = 0.9
"""Share of the values of a column that show its type."""
PERIOD = re.compile(r"(?:1[89]|20|21)\d\d|\d{1,4}[-/]\d{1,4}|\d{1,4}([-/.])\d{1,2}\1\d{1,4}")
"""A year, a month or a date in digits. Columns may be named by periods."""
WORD = re.compile(r"[^\W\d_]+")
FREQUENT_NAMES = frozenset(
    """
    address age amount category city code color colour comment company contact cost country currency date day
    department description email end gender group hours id item key kind label lastname link location mail month
    name names no note notes number order owner percent person phone place position price product quantity rank rate
    reason region role score sex size start state status street surname tags task team telephone text time title
    total type unit url user username value vendor version weight year zip anzahl art betrag datum einheit farbe
    land menge nachname nr ort preis stadt straße vorname adresse couleur montant nom pays prix prénom quantité
    ville apellido cantidad ciudad dirección fecha importe nombre país precio cidade data nome preço valor cognome
    città prezzo naam prijs plaats дата имя название город цена количество фамилия
    名前 日付 価格 住所 名称 日期 价格 城市 数量 이름 날짜
    가격 주소
    الاسم التاريخ المدينة السعر नाम तारीख शहर ชื่อ วันที่ ราคา όνομα ημερομηνία πόλη τιμή שם תאריך עיר מחיר
    """.split()  # noqa: SIM905 - a list of 170 strings is hard to read
)
"""Frequent names of columns. They decide if the first row looks like the rows below it."""
MAX_NAME_WORDS = 4
"""Longest name, in words, that is recognised by one of its words."""


@dataclass(frozen=True, slots=True)
class TablePart:
    """A paragraph of a table, and the positions of the first and the last row that it shows, counted from 0."""

    text: str
    first: int
    last: int


def write_table(rows: Iterable[Row]) -> Iterator[TablePart]:
    """Yield the paragraphs of a table whose rows have at least one value each.

    A paragraph is a row, one line per value, `column: value`. If there is no header, the values are separated by
    commas. In long tables, a paragraph has a line with the names, and a line per row.
    """
    remaining = iter(rows)
    sample = list(islice(remaining, SAMPLE_ROWS))
    position = find_header(sample)
    titles = sample if position is None else sample[:position]
    for index, row in enumerate(chain(titles, remaining) if position is None else titles):
        yield TablePart(", ".join(filter(None, row)), index, index)
    if position is not None:
        names = [" ".join(name.split()) for name in sample[position]]
        yield from _write_rows(names, enumerate(chain(sample[position + 1 :], remaining), start=position + 1))


def _write_rows(names: Row, rows: Iterator[tuple[int, Row]]) -> Iterator[TablePart]:
    length = 0
    for index, row in rows:
        text = LINE.join(_name_cells(names, row))
        yield TablePart(text, index, index)
        length += len(text)
        if length > NAMED_CHARACTERS:
            break
    header = " | ".join(names)
    enough = max(REPEAT_CHARACTERS, REPEAT_SHARE * len(header))
    lines, length, first, last = [header], 0, 0, 0
    for last, row in rows:
        first = last if len(lines) == 1 else first
        lines.append(" | ".join(row))
        length += len(lines[-1])
        if length > enough:
            yield TablePart(LINE.join(lines), first, last)
            lines, length = [header], 0
    if len(lines) > 1:
        yield TablePart(LINE.join(lines), first, last)


def _name_cells(names: Row, row: Row) -> Iterator[str]:
    for index, cell in enumerate(row):
        if cell:
            name = names[index] if index < len(names) else ""
            yield f"{name}: {cell}" if name else cell


def find_header(sample: Sequence[Row]) -> int | None:
    """Return the index of the row that names the columns, or None if no row does. Rows above it are titles."""
    widths = Counter(_measure_width(row) for row in sample)
    width = max((width for width in widths if width > 1), key=lambda width: (widths[width], width), default=0)
    for index, row in enumerate(sample[:-1]):
        body = sample[index + 1 :]
        if width and _fills(row, width):
            if _is_header(row, body):
                return index
            if _measure_width(body[0]) <= _measure_width(row):
                return None
    return None


def _measure_width(row: Row) -> int:
    return max((index for index, cell in enumerate(row, start=1) if cell), default=0)


def _fills(row: Row, width: int) -> bool:
    """Return True if a row is as wide as a table, and no title above it."""
    filled = sum(map(bool, row))
    return 2 * filled >= width and (filled > 1 or _measure_width(row) >= width)


def _is_header(row: Row, body: Sequence[Row]) -> bool:
    """Return True if a row names the columns of the rows below it, by comparing it with them, column by column."""
    is_table = 2 * sum(_measure_width(cells) > 1 for cells in body) >= len(body)
    if not is_table or any(len(name) > LONGEST_NAME for name in row):
        return False
    if _counts(row) and not _counts(body[0]):
        return True
    columns = ((name, [cells[index] for cells in body if len(cells) > index]) for index, name in enumerate(row))
    found = [_compare(name, [*filter(None, values)]) for name, values in columns]
    return sum(found) > 0 or (max(found) == CERTAIN and min(found) > -UNLIKELY)


def _counts(row: Row) -> bool:
    """Return True if the numbers of a row count up or down by one: years, months, or weeks, for example."""
    numbers = [int(cell) for cell in row if cell.isascii() and cell.isdecimal() and len(cell) <= YEAR_DIGITS]
    steps = {later - number for number, later in pairwise(numbers)}
    return steps in ({1}, {-1}) and len(numbers) == sum(map(is_number, row))


def _compare(name: str, values: list[str]) -> int:
    """Return what speaks for a name above these values: more than 0 if it is one, less than 0 if it is a value."""
    if not values:
        return 0
    if not name:
        return int(values[0] in ("0", "1") and _share(values, str.isdecimal) >= MOST)
    numbers = _share(values, is_number)
    if is_number(name):
        is_period = PERIOD.fullmatch(name) and not any(map(PERIOD.fullmatch, values))
        return 1 if is_period and numbers >= MOST else -CERTAIN
    if name in values:
        return -UNLIKELY
    return CERTAIN if numbers >= MOST or _is_frequent(name) else _compare_words(name, values)


def _is_frequent(name: str) -> bool:
    words = WORD.findall(name.casefold())
    return len(words) <= MAX_NAME_WORDS and not FREQUENT_NAMES.isdisjoint(words)


def _compare_words(name: str, values: list[str]) -> int:
    """Compare a name with values that are words: by repetition, digits, capital letters and length."""
    length = median(map(len, values))
    return (
        (len(set(values)) <= len(values) / 2)
        + (not _has_digit(name) and _share(values, _has_digit) >= MOST)
        + (name[0].islower() and _share(values, _is_capital) >= MOST)
        + (_is_capital(name) and _share(values, _is_capital) <= 1 - MOST)
        + (length > 3 * len(name))
        - (_has_digit(name) and _share(values, _has_digit) >= MOST)
        - (len(name) > 3 * length)
    )


def is_number(cell: str) -> bool:
    """Return True if a cell holds a number or a date in digits."""
    return any(map(str.isdigit, cell)) and not any(map(str.isalpha, cell))


def _has_digit(cell: str) -> bool:
    return any(map(str.isdigit, cell))


def _is_capital(cell: str) -> bool:
    return cell[0].isupper()


def _share(values: list[str], test: Callable[[str], bool]) -> float:
    return sum(map(test, values)) / len(values)
