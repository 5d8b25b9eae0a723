"""Columns of prose whose lines were drawn across all columns, and tables that look like them."""

import io
import textwrap
from collections.abc import Sequence

import pytest

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from pipeline.stages.extract.pdf.columns import find_gutters
from pipeline.stages.extract.pdf.lines import Line, is_prose
from tests.pdfs import write_line, write_pages

PROSE = (
    "{0} the keeper of the lock opens the gate for every boat that comes up the river before noon, and closes it when "
    "the water has fallen below the mark on the wall near the old stone bridge, where children fish in summer and "
    "skate in winter; nobody may enter while the red flag is up, and nobody may moor at the lower wall at night."
)
Placed = tuple[str, float, float, float]


def make_column(name: str, x: float, top: float, *, width: int = 36, gap: float = 13, size: float = 10) -> list[Placed]:
    lines = textwrap.wrap(PROSE.format(name), width)
    return [(line, x, top - gap * number, size) for number, line in enumerate(lines)]


def read(*parts: list[Placed]) -> list[str]:
    """Return the lines of a page on which the parts were drawn line by line, from top to bottom, across all of them."""
    drawn = sorted((line for part in parts for line in part), key=lambda line: (-line[2], line[1]))
    data = write_pages(["".join(write_line(*line) for line in drawn)])
    [page] = get_format("application/pdf").readers[0](SourceFile(io.BytesIO(data))).pages
    return "".join(page.sections).split("\n")


def get_texts(*parts: list[Placed]) -> list[str]:
    return [line[0] for part in parts for line in part]


LEFT, RIGHT = make_column("Left", 60, 700), make_column("Right", 320, 700)
COLUMNS: dict[str, list[list[Placed]]] = {
    "same lines": [LEFT, RIGHT],
    "half a line lower": [LEFT, make_column("Right", 320, 694)],
    "another leading": [LEFT, make_column("Right", 320, 700, gap=17)],
    "three": [make_column(name, x, 700, width=26) for name, x in (("A", 40), ("B", 220), ("C", 400))],
    "heading and footer": [
        [("The gazette of the lock and of the river, for all who live at it", 60, 740, 14)],
        LEFT,
        RIGHT,
        [("1 A footnote that runs across the whole page, below both of its columns of prose", 60, 300, 8)],
    ],
    "abstract above": [make_column("Abstract", 60, 780, width=90), LEFT, RIGHT],
    "heading between": [
        LEFT,
        RIGHT,
        [("The rules of the upper lock, and those of the lower lock at the mill", 60, 540, 14)],
        make_column("Third", 60, 500),
        make_column("Fourth", 320, 500),
    ],
    "notes beside": [
        [
            ("Notes for keepers", 60, 696, 8),
            ("of locks", 60, 685, 8),
            ("and for all", 60, 641, 8),
            ("bargees", 60, 630, 8),
        ],
        make_column("Main", 200, 700, width=50),
    ],
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_drawn_line_by_line_are_read_one_after_the_other(kind: str) -> None:
    assert read(*COLUMNS[kind]) == get_texts(*COLUMNS[kind])


def make_table(*rows: tuple[str, ...], x: float = 60, step: float = 250) -> list[Placed]:
    return [(cell, x + step * c, 700 - 13 * r, 10.0) for r, row in enumerate(rows) for c, cell in enumerate(row)]


TABLES: dict[str, Sequence[tuple[str, ...]]] = {
    "numbers": [("Expected dividend yield, based on a", "4.51"), ("constant dividend in the whole", ""), ("term", "")]
    + [(f"{name} of the water below the lock", str(n)) for n, name in enumerate(("Height", "Speed", "Colour", "Age"))],
    "two texts": [(f"{name} Boats and Barges Limited", "Delaware, in the United States") for name in "ABCDEF"],
    "number and text": [(f"10.{n}", line) for n, line in enumerate(textwrap.wrap(PROSE.format("An"), 40))],
}


@pytest.mark.parametrize("kind", TABLES)
def test_rows_of_a_table_stay_together(kind: str) -> None:
    rows = TABLES[kind]
    assert read(make_table(*rows)) == [" ".join(filter(None, row)) for row in rows]


def test_numbers_in_the_middle_of_long_labels_stay_beside_them() -> None:
    labels = make_lines(textwrap.wrap(PROSE.format("the"), 36)[:8])
    numbers = [Line(f"{n}.5", 260, -26 * n - 6.5, 275, 4.5 - 26 * n) for n in range(4)]
    drawn = sorted([*labels, *numbers], key=lambda line: -line.top)
    assert find_gutters(drawn) == []
    words = [Line("a word", line.left, line.bottom, line.right, line.top) for line in numbers]
    assert find_gutters(sorted([*labels, *words], key=lambda line: -line.top)) != []


def test_cells_of_prose_that_are_drawn_one_by_one_keep_their_order() -> None:
    cells = [
        [
            (line, x, 700.0 - 60 * row - 13 * n, 10.0)
            for n, line in enumerate(textwrap.wrap(PROSE.format(name), 36)[1:5])
        ]
        for row, names in enumerate((("Case", "Rule"), ("Barge", "Toll"), ("Flag", "Fine")))
        for x, name in zip((60.0, 320.0), names, strict=True)
    ]
    gutters = find_gutters([Line(text, x, y, x + 170, y + 11) for cell in cells for text, x, y, _ in cell])
    assert gutters == []


PROSE_LINES = textwrap.wrap(PROSE.format("The"), 36)
NO_PROSE = {
    "capitals": [line.capitalize() for line in PROSE_LINES],
    "uneven": [line if n % 5 == 0 else line[:22] + " " * 20 for n, line in enumerate(PROSE_LINES)],
    "numbers": ["p. 12.45 13.75 14.82 17.05 2025 2026"] * 8,
    "short": ["a barge"] * 8,
}


def make_lines(texts: Sequence[str]) -> list[Line]:
    return [Line(text, 0, -13 * n, 5 * len(text.rstrip()), 11 - 13 * n) for n, text in enumerate(texts)]


@pytest.mark.parametrize("kind", NO_PROSE)
def test_prose_is_told_from_cells(kind: str) -> None:
    assert is_prose(make_lines(PROSE_LINES))
    assert not is_prose(make_lines(NO_PROSE[kind]))


def test_table_beside_prose_is_read_after_it() -> None:
    table = make_table(*((f"Item {n}", str(n * 7)) for n in range(8)), x=330, step=120)
    drawn = "".join(write_line(*line) for line in [*LEFT, *table])
    [page] = get_format("application/pdf").readers[0](SourceFile(io.BytesIO(write_pages([drawn])))).pages
    assert "".join(page.sections).split("\n") == [*get_texts(LEFT), *(f"Item {n} {n * 7}" for n in range(8))]
