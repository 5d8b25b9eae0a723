"""PDF text in reading order: lines by their places, accents and raised digits, and only what a viewer shows."""

import io
import random

import pytest
from fpdf import FPDF

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from tests.pdfs import FONT, write_line, write_pages, write_stream


def read(data: bytes) -> str:
    [page] = get_format("application/pdf").readers[0](SourceFile(io.BytesIO(data))).pages
    return "".join(page.sections)


def read_lines(*lines: tuple[str, float, float]) -> list[str]:
    """Return the text of a page on which these lines are drawn in this order: text, x, y."""
    return read(write_pages(["".join(write_line(*line) for line in lines)])).split("\n")


def make_column(x: float, top: float, words: list[str], gap: float = 13) -> list[tuple[str, float, float]]:
    return [(f"{word} sails by the old stone quay", x, top - gap * number) for number, word in enumerate(words)]


LEFT, RIGHT = ["Alder", "Birch", "Cedar", "Dogwood"], ["Elm", "Fir", "Gorse", "Hazel"]


def test_lines_are_read_from_top_to_bottom_whatever_order_they_are_drawn_in() -> None:
    lines = [(f"Line {number} of the lock rules", 72.0, 780.0 - 40 * number) for number in range(6)]
    for seed in range(5):
        drawn = lines.copy()
        random.Random(seed).shuffle(drawn)
        assert read_lines(*drawn) == [text for text, _, _ in lines]


def test_columns_are_read_one_after_the_other() -> None:
    title, footer = ("The lock gazette", 72.0, 780.0), ("Page 1", 280.0, 40.0)
    left, right = make_column(72, 700, LEFT), make_column(320, 700, RIGHT)
    expected = [text for text, _, _ in [title, *left, *right, footer]]
    for drawn in ([title, *left, *right, footer], [footer, *right, *left, title], [*right, title, footer, *left]):
        assert read_lines(*drawn) == expected


def test_columns_of_several_paragraphs_are_read_one_after_the_other() -> None:
    left = make_column(72, 700, LEFT) + make_column(72, 600, LEFT)
    right = make_column(320, 700, RIGHT) + make_column(320, 600, RIGHT)
    assert read_lines(*right, *left) == [text for text, _, _ in [*left, *right]]


TABLES = {
    "numbers": ([["Item", "2024", "2025"], ["Rent", "450", "470"], ["Staff", "900", "910"]], 20),
    "two columns": ([["Boat", "Fee"], ["Barge", "12"], ["Canoe", "2"], ["Raft", "3"]], 18),
    "many rows": ([[f"Item {row}", str(row * 3), str(row * 7)] for row in range(12)], 14),
    "words": ([["Lock", "Keeper"], ["Alder", "Reyes"], ["Birch", "Moss"]], 22),
    "long labels": ([["Rent of the house at the quay", "1"], ["Wages of two keepers", "2"], ["Coal", "3"]], 24),
}


@pytest.mark.parametrize("kind", TABLES)
def test_table_drawn_by_columns_is_read_by_rows(kind: str) -> None:
    rows, gap = TABLES[kind]
    cells = [
        (row[column], 72.0 + 180 * column, 700.0 - gap * number)
        for column in range(len(rows[0]))
        for number, row in enumerate(rows)
    ]
    assert read_lines(*cells) == [" ".join(row) for row in rows]


@pytest.mark.parametrize("kind", TABLES)
def test_table_drawn_by_rows_is_read_by_rows(kind: str) -> None:
    rows, gap = TABLES[kind]
    cells = [(cell, 72.0 + 180 * c, 700.0 - gap * r) for r, row in enumerate(rows) for c, cell in enumerate(row)]
    assert read_lines(*cells) == [" ".join(row) for row in rows]


def test_cells_of_several_lines_stay_together() -> None:
    cells = [("August 29,", 72.0, 700.0), ("2021", 72.0, 687.0), ("August 30,", 200.0, 700.0), ("2020", 200.0, 687.0)]
    assert read_lines(*cells) == ["August 29,", "2021", "August 30,", "2020"]


def test_mark_that_is_drawn_last_is_read_in_its_line() -> None:
    content = write_line("Rent", 72, 700) + write_line("450", 200, 700) + write_line("Staff of the lock", 72, 680)
    content += write_line("a)", 96, 704, size=6)
    assert read(write_pages([content])) == "Rent a) 450\nStaff of the lock"


ACCENTS = {
    "before": ("[(M)-111(\\177)444(uller in K)-111(\\177)444(oln)] TJ", "Müller in Köln"),
    "acute": ("[(Caf)-111(\\023)444(e)] TJ", "Café"),
    "after": ("[(caf)(e)444(\\023)-111( noir)] TJ", "café noir"),
    "cedilla": ("[(gar)(c)416(\\024)83(on)] TJ", "garçon"),
    "ring": ("[(\\025)444(Angstr)-111(\\177)444(om)] TJ", "Ångström"),
    "caron": ("[(\\026)389(Skoda)] TJ", "Škoda"),
    "dotless": ("[(na)(\\177)305(\\030)27(ve)] TJ", "naïve"),
}
TEX_FONT = FONT.replace(
    "/WinAnsiEncoding",
    "<< /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences "
    "[19 /acute /cedilla /ring /caron 24 /dotlessi 127 /dieresis] >>",
)


@pytest.mark.parametrize("kind", ACCENTS)
def test_accents_are_composed_with_their_letters(kind: str) -> None:
    shown, expected = ACCENTS[kind]
    assert read(write_pages([f"BT /F1 11 Tf 72 700 Td {shown} ET"], more={5: TEX_FONT})) == expected


def test_signs_that_are_no_accents_stay() -> None:
    text = "a ^ b ~ c `d` x^2 20 \\260C e \\250 f"
    assert read(write_pages([f"BT /F1 11 Tf 72 700 Td ({text}) Tj ET"])) == "a ^ b ~ c `d` x^2 20 °C e ¨ f"


RAISED = {
    "rise": ("(rent 450) Tj /F1 6 Tf 4 Ts (1) Tj", "rent 450 ¹"),
    "rise and on": ("(was 10) Tj /F1 6 Tf 4 Ts (2) Tj 0 Ts /F1 11 Tf ( units) Tj", "was 10 ² units"),
    "moved": ("(rent 450) Tj /F1 6 Tf 42 4 Td (12) Tj", "rent 450 12"),
    "amount": ("($1,204) Tj /F1 7 Tf 4 Ts (3) Tj", "$1,204 ³"),
    "same size": ("(rent 450) Tj (1) Tj", "rent 4501"),
    "lowered": ("(rent 450) Tj /F1 11 Tf (17) Tj", "rent 45017"),
}


@pytest.mark.parametrize("kind", RAISED)
def test_raised_digits_stay_apart_from_the_number(kind: str) -> None:
    shown, expected = RAISED[kind]
    assert read(write_pages([f"BT /F1 11 Tf 72 700 Td {shown} ET"])) == expected


def test_turned_text_is_read() -> None:
    document = FPDF()
    document.add_page()
    document.set_font("Helvetica", size=12)
    with document.rotation(90, 100, 100):
        document.text(100, 100, "Grease the hinges every fortnight.")
        document.text(100, 120, "Hoist the red flag.")
    assert read(bytes(document.output())) == "Grease the hinges every fortnight.\nHoist the red flag."


@pytest.mark.parametrize("matrix", ["0 1 -1 0 {0} 72", "0 -1 1 0 {1} 700", "-1 0 0 -1 500 {0}"])
def test_turned_lines_are_read_in_their_order(matrix: str) -> None:
    lines = [
        f"BT /F1 11 Tf {matrix.format(100 + 20 * n, 500 - 20 * n)} Tm (Rule {n} of the lock) Tj ET\n" for n in range(5)
    ]
    for seed in range(3):
        drawn = random.Random(seed).sample(lines, 5)
        assert read(write_pages(["".join(drawn)])).split("\n") == [f"Rule {n} of the lock" for n in range(5)]


def test_label_that_runs_up_a_page_stays_together() -> None:
    label = "BT /F1 11 Tf 0 1 -1 0 50 300 Tm (Rules of the lock) Tj ET\n"
    lines = make_column(72, 700, LEFT)
    content = label + "".join(write_line(*line) for line in lines)
    assert sorted(read(write_pages([content])).split("\n")) == sorted(
        ["Rules of the lock", *(line[0] for line in lines)]
    )


WIDE = {
    "spaces": ("(S p a c e d   h e a d i n g) Tj", "Spaced heading"),
    "gaps": ("[(S)-400(p)-400(a)-400(c)-400(e)-400(d)-900(h)-400(e)-400(a)-400(d)] TJ", "Spaced head"),
    "beside a number": ("(5 R u l e s of 2026) Tj", "5 Rules of 2026"),
    "few letters": ("(x y z w) Tj", "x y z w"),
    "cells": ("[(A)-3000(B)-3000(C)-3000(D)-3000(E)-3000(F)] TJ", "A B C D E F"),
}


@pytest.mark.parametrize("kind", WIDE)
def test_words_that_are_set_wide_are_joined(kind: str) -> None:
    shown, expected = WIDE[kind]
    assert read(write_pages([f"BT /F1 11 Tf 72 700 Td {shown} ET"])) == expected


def test_columns_of_a_script_from_right_to_left_begin_on_the_right() -> None:
    letters = b"1 begincodespacerange <00> <FF> endcodespacerange 1 beginbfrange <61> <7A> <05D0> endbfrange endcmap"
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>"
    left, right = make_column(72, 700, ["a", "b", "c", "d"]), make_column(320, 700, ["e", "f", "g", "h"])
    drawn = "".join(write_line(text[0] * 9, x, y) for text, x, y in [*left, *right])
    found = read(write_pages([drawn], more={5: font, 6: write_stream(letters)})).split("\n")
    assert found == [chr(0x5D0 + "abcdefgh".index(letter)) * 9 for letter in "efghabcd"]


def test_columns_with_a_few_letters_from_right_to_left_begin_on_the_left() -> None:
    letters = (
        "1 begincodespacerange <00> <FF> endcodespacerange 1 beginbfrange <61> <70> <0061> endbfrange "
        "1 beginbfchar <71> <05D0> endbfchar endcmap"
    )
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>"
    left, right = make_column(72, 700, ["a", "b", "c", "d"]), make_column(320, 700, ["e", "f", "g", "h"])
    drawn = "".join(write_line(text[0] * 8 + "q", x, y) for text, x, y in [*right, *left])
    found = read(write_pages([drawn], more={5: font, 6: write_stream(letters)})).split("\n")
    assert found == [letter * 8 + "\u05d0" for letter in "abcdefgh"]
