"""Tables: names of columns, titles above them, stray quotes, long tables, and binary data in cells."""

import base64
import csv
import io
import random
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.extract import get_format
from pipeline.stages.extract.blobs import leave_out_blobs
from pipeline.stages.extract.format import SourceFile
from pipeline.stages.extract.layout import REPEAT_CHARACTERS
from pipeline.stages.extract.table import NAMED_CHARACTERS, write_table
from tests.languages import LANGUAGES

SCRIPTS = ["English", "Russian", "Greek", "Hebrew", "Arabic", "Thai", "Chinese", "Japanese", "Korean", "Hindi"]


def read_csv(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    [page] = get_format("text/csv").readers[0](SourceFile(io.BytesIO(data))).pages
    return "".join(page.sections)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("product,2024,2025,2026\nDesk,10,12,15\nLamp,3,4,5", "product: Desk\n2024: 10\n2025: 12"),
        ("product,2025\nDesk,12\nLamp,3", "product: Lamp\n2025: 3"),
        (",2023,2024\nRent,2010,1990\nFood,1955,2001", "Rent\n2023: 2010\n2024: 1990"),
        ("team,2026,2025\nA,7,8\nB,9,4", "team: B\n2026: 9\n2025: 4"),
        ("site,2024-01,2024-02\nA,7,8\nB,9,4", "site: A\n2024-01: 7\n2024-02: 8"),
        ("machine,1,2,3\nA,70,81,5\nB,91,40,6", "machine: B\n1: 91\n2: 40\n3: 6"),
    ],
)
def test_years_and_periods_name_columns(table: str, line: str) -> None:
    assert line in read_csv(table)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("id,name,name\n1,Kim,Lee\n2,Ann,Bo", "id: 1\nname: Kim\nname: Lee"),
        ("id,,note\n1,x,y\n2,z,w", "id: 2\nz\nnote: w"),
        (",price\n0,12\n1,13", "0\nprice: 12"),
        ("code,,,size\nA-1,5,,7\nB-2,6,1,8", "code: A-1\n5\nsize: 7"),
    ],
)
def test_names_may_be_empty_or_repeat(table: str, line: str) -> None:
    assert line in read_csv(table)


@pytest.mark.parametrize(
    "table",
    [
        "Kim,Bonn,blue\nLee,Trier,red\nAnn,Mainz,green",
        "Kim,Bonn,1990\nLee,Trier,1987",
        "Kim,1987\nLee,1990\nAnn,2001",
        "A-17,ok\nB-22,ok\nC-31,ok",
        "rope,3,12.5\nlamp,1,7\nhook,9,2.25",
        "Desk,2024\nLamp,2025\nRope,2023",
        "Kim,\nLee,x\nAnn,y",
    ],
)
def test_data_is_no_header(table: str) -> None:
    assert ":" not in read_csv(table)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("Name,City,Colour\nKim,Bonn,blue\nLee,Trier,red", "Name: Kim\nCity: Bonn"),
        ("question,answer\nWhere is it?,Behind the mill\nWho pays?,The tenant", "question: Who pays?"),
        ("product_code,state\nA-17,open\nB-22,shut", "product_code: A-17"),
        ("Fruit,Rating\nApple,good\nPear,good\nPlum,bad\nFig,bad", "Fruit: Pear\nRating: good"),
        ("Артикул;Цена\nСтол;12,50\nСтул;3,20", "Артикул: Стол\nЦена: 12,50"),
        ("氏名,住所\n山田,東京\n佐藤,大阪", "住所: 東京"),
    ],
)
def test_words_are_a_header_if_they_differ_from_the_words_below(table: str, line: str) -> None:
    assert line in read_csv(table)


@pytest.mark.parametrize(
    ("titles", "shown"),
    [
        ("Sales report\n", "Sales report"),
        ("Sales report,,\nAll figures in euros,,\n\n", "Sales report\n\nAll figures in euros"),
        ("Report\nCreated,2024-01-01\n\n", "Report\n\nCreated, 2024-01-01"),
        ('"Report; of, March"\n', "Report; of, March"),
        (",,Report\n", "Report"),
    ],
)
def test_titles_stand_above_the_header(titles: str, shown: str) -> None:
    text = read_csv(titles + "product,price,stock\nDesk,10,1\nLamp,12,4\nRope,1,9\n")
    assert text.startswith(shown + "\n\nproduct: Desk\nprice: 10\nstock: 1")


def test_titles_stand_above_a_table_of_two_columns() -> None:
    text = read_csv('"Sales, all"\nCreated: 2024-01-01\nproduct;price\nDesk;5,20\nLamp;6,10\n')
    assert text.startswith("Sales, all\n\nCreated: 2024-01-01\n\nproduct: Desk\nprice: 5,20")


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n', "\ufeffsep=;\n", "sep=;\r"])
def test_declared_delimiter_is_no_text(first: str) -> None:
    assert read_csv(first + "a;b\n1,5;2,5\n3,5;4,5") == "a: 1,5\nb: 2,5\n\na: 3,5\nb: 4,5"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('4,8,"unclosed', 'note: "unclosed'),
        ('4,"8,unclosed', 'size: "8\nnote: unclosed'),
        ('"4,8,unclosed', 'id: "4\nsize: 8'),
        ('4,5" pipe,x', 'size: 5" pipe'),
        ('4,"Alpha" team,x', 'size: "Alpha" team\nnote: x'),
        ('4,"6"" pipe",x', 'size: 6" pipe'),
        ('4,"a" ,x', "size: a\nnote: x"),
        ('4, "a, b", x', "size: a, b\nnote: x"),
        ('4,8,""half"', 'note: ""half"'),
    ],
)
@pytest.mark.parametrize("behind", ['"quoted"', "plain", 'ends"', '""'])
def test_stray_quote_costs_its_line_alone(end: str, line: str, shown: str, behind: str) -> None:
    text = read_csv(end.join(["id,size,note", "1,2,fine", line, f"5,9,{behind}", "6,10,last row", ""]))
    assert shown in text
    assert text.startswith("id: 1\nsize: 2\nnote: fine\n\n")
    assert "\n\nid: 5\nsize: 9" in text
    assert text.endswith("\n\nid: 6\nsize: 10\nnote: last row")


def test_cells_may_have_lines_that_look_like_rows() -> None:
    rows = [["id", "size", "note"], ["1", "2", "x, y\nz, w"], ["2", "3", "dear sir,\nyes, we, can,\nbye"]]
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    assert "note: dear sir,\nyes, we, can,\nbye" in read_csv(file.getvalue())
    assert "note: x, y\nz, w\n\nid: 2" in read_csv(file.getvalue())


def test_long_tables_name_their_columns_once_a_passage() -> None:
    names = [f"customer attribute number {number:02}" for number in range(30)]
    rows = [[str((row + column) % 97) for column in range(30)] for row in range(20_000)]
    text = read_csv("\n".join(",".join(row) for row in [names, *rows]))
    size = sum(len(",".join(row)) + 1 for row in rows)
    assert len(text) < NAMED_CHARACTERS + 3 * size
    header, last = text.rsplit("\n\n", 1)[1].split("\n", 1)
    assert header == " | ".join(names)
    assert last.endswith(" | ".join(rows[-1]))


def test_names_are_repeated_in_each_passage_of_a_long_table() -> None:
    parts = write_table([["id", "note"], *([str(number), "word"] for number in range(120_000))])
    paragraphs = [part.text for part in parts]
    tail = [paragraph for paragraph in paragraphs if paragraph.startswith("id | note\n")]
    assert len(tail) > 100
    assert max(map(len, tail)) < 2 * REPEAT_CHARACTERS
    assert paragraphs[0] == "id: 0\nnote: word"
    assert "\n119999 | word" in paragraphs[-1]


BASE64 = base64.b64encode(random.Random(5).randbytes(600)).decode()


@pytest.mark.parametrize(
    "blob",
    [
        BASE64,
        f"data:image/png;base64,{BASE64}",
        "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
        "data:image/svg+xml,%3Csvg%20xmlns=%3E",
        base64.urlsafe_b64encode(base64.b64decode(BASE64)).decode(),
        textwrap.fill(BASE64, 76),
        textwrap.fill(BASE64, 64),
    ],
)
def test_binary_data_is_no_text(blob: str) -> None:
    assert leave_out_blobs(f"before {blob}\nafter") == "before \nafter"
    assert "note: before  after" in read_csv(f'id,note\n1,"before {blob} after"\n2,x')


@pytest.mark.parametrize(
    "text",
    [
        "ACGT" * 100,
        "-" * 500,
        "0123456789" * 50,
        "CamelCase" * 10,
        "/usr/share/documents/" * 20,
        "日本語" * 200,
        "lowercase\n" * 100,
        "see data:, and data: image/png",
    ],
)
def test_what_looks_a_little_like_base64_is_kept(text: str) -> None:
    assert leave_out_blobs(text) == text


CELLS = st.lists(st.sampled_from(" ".join(LANGUAGES[name].text for name in SCRIPTS).split()))


@given(st.lists(st.lists(CELLS.map(" ".join), min_size=3, max_size=3), max_size=6), st.sampled_from(",;\t|"))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_cells_of_every_script_come_back_in_order(rows: list[list[str]], delimiter: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([["id", "name", "price"], *rows])
    text, position = read_csv(file.getvalue()), 0
    for cell in (cell for row in rows for cell in row):
        position = text.index(cell, position) + len(cell)
