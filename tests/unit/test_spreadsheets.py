"""Workbooks that openpyxl and xlsxwriter wrote: sheets, tables, numbers as they are shown, and what is hidden."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest
import xlsxwriter
import xlwt
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.utils import get_column_letter

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.chunk import CHUNK_CHARACTERS
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from pipeline.stages.extract.number_format import show_number
from pipeline.types import WarningCode
from tests.archives import BILLION_LAUGHS, pack, relate
from tests.languages import LANGUAGES

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SCRIPTS = ["English", "Russian", "Greek", "Hebrew", "Arabic", "Thai", "Chinese", "Japanese", "Korean", "Hindi"]
ROWS: list[list[Any]] = [["Boat", "Fee"], ["Barge", 12], ["Punt", 3]]
SHOWN = "Boat: Barge\nFee: 12\n\nBoat: Punt\nFee: 3"


PLACE = re.compile(r"(?m)^(Fees.*?|Far|Notes|), rows? [0-9]+(?: to [0-9]+)?$")


def read(data: bytes, media_type: str = XLSX) -> list[str]:
    """Return the text of each sheet, without the numbers of rows."""
    extraction = get_format(media_type).readers[0](SourceFile(io.BytesIO(data)))
    pages = [PLACE.sub(r"\1", "".join(page.sections)) for page in extraction.pages]
    assert len(pages) == extraction.count
    return pages


def write(fill: Callable[[Any, Any], None]) -> bytes:
    """Return a workbook of xlsxwriter whose sheet `Fees` is filled by a function of the workbook and the sheet."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        fill(book, book.add_worksheet("Fees"))
    return file.getvalue()


def put(sheet: Any, row: int, column: int, rows: Sequence[Sequence[Any]]) -> None:
    for offset, values in enumerate(rows):
        sheet.write_row(row + offset, column, values)


def test_sheet_is_a_page_that_begins_with_its_name() -> None:
    book = openpyxl.Workbook()
    book.active.title = "Fees & fines"
    for row in ROWS:
        book.active.append(row)
    book.create_sheet("Empty")
    book.create_sheet("Notes")["C7"] = "Bring a rope"
    for state in ("hidden", "veryHidden"):
        book.create_sheet(state)["A1"] = "secret"
        book[state].sheet_state = state
    file = io.BytesIO()
    book.save(file)
    assert read(file.getvalue()) == [f"Fees & fines\n\n{SHOWN}", "", "Notes\n\nBring a rope"]


@pytest.mark.parametrize(("row", "column"), [(0, 0), (99, 30), (1_048_573, 16_382), (0, 16_382), (1_048_573, 0)])
def test_tables_may_be_far_from_the_corner(row: int, column: int) -> None:
    assert read(write(lambda _, sheet: put(sheet, row, column, ROWS))) == [f"Fees\n\n{SHOWN}"]


def test_tables_are_parted_by_empty_rows_and_columns() -> None:
    def fill(_: Any, sheet: Any) -> None:
        put(sheet, 0, 0, ROWS)
        put(sheet, 0, 3, [["Name", "City"], ["Kim", "Bonn"]])
        put(sheet, 5, 0, [["Colour", "Count"], ["red", 4]])
        put(sheet, 5, 4, [["Depth"], [7]])

    text = f"{SHOWN}\n\nName: Kim\nCity: Bonn\n\nColour: red\nCount: 4\n\nDepth\n\n7"
    assert read(write(fill)) == [f"Fees\n\n{text}"]


def test_rows_below_an_empty_one_keep_the_names() -> None:
    def fill(_: Any, sheet: Any) -> None:
        put(sheet, 0, 0, ROWS)
        put(sheet, 4, 0, [["Canoe", 1], ["Raft", 2]])

    assert read(write(fill))[0].endswith("Boat: Canoe\nFee: 1\n\nBoat: Raft\nFee: 2")


def test_hidden_rows_and_columns_are_left_out_and_part_nothing() -> None:
    def fill(_: Any, sheet: Any) -> None:
        put(sheet, 0, 0, [["Boat", "Secret", "Fee"], ["Barge", "x", 12], ["hidden", "x", 1], ["Punt", "x", 3]])
        put(sheet, 4, 0, [["hidden"], ["Raft"]])
        sheet.set_row(2, None, None, {"hidden": True})
        sheet.set_row(4, None, None, {"hidden": True})
        sheet.set_column(1, 1, None, None, {"hidden": True})

    assert read(write(fill)) == [f"Fees\n\n{SHOWN}\n\nBoat: Raft"]


def test_merged_names_beside_hidden_columns() -> None:
    def fill(_: Any, sheet: Any) -> None:
        put(
            sheet,
            0,
            0,
            [["Region", "x", "2024"], ["", "x", "Plan", "Fact"], ["North", "x", 1, 2], ["South", "x", 3, 4]],
        )
        sheet.merge_range("C1:D1", "2024")
        sheet.set_column(1, 1, None, None, {"hidden": True})

    assert read(write(fill))[0].startswith("Fees\n\nRegion: North\n2024 Plan: 1\n2024 Fact: 2\n\nRegion: South")


def test_tables_beside_each_other_name_the_rows_of_both() -> None:
    def fill(_: Any, sheet: Any) -> None:
        put(sheet, 0, 0, [["a", "b"], *[["x", number] for number in range(5)]])
        put(sheet, 0, 5, [["c", "d"], ["y", 1]])

    [page] = get_format(XLSX).readers[0](SourceFile(io.BytesIO(write(fill)))).pages
    assert page.sections[0].startswith("Fees, rows 2 to 6\n")


def test_long_rows_are_sections_of_their_own() -> None:
    rows = [[letter * 700] for letter in "abc"]
    [page] = get_format(XLSX).readers[0](SourceFile(io.BytesIO(write(lambda _, sheet: put(sheet, 0, 0, rows))))).pages
    assert [section[:12] for section in page.sections] == ["Fees, row 1\n", "Fees, row 2\n", "Fees, row 3\n"]


def test_merged_values_below_the_names_are_no_names() -> None:
    def fill(_: Any, sheet: Any) -> None:
        put(sheet, 0, 0, [["Region", "Plan", "Fact"], ["North", "open", ""], ["South", 7, 8]])
        sheet.merge_range("B2:C2", "open")

    [text] = read(write(fill))
    assert text == "Fees\n\nRegion: North\nPlan: open\nFact: open\n\nRegion: South\nPlan: 7\nFact: 8"


def test_sheet_without_a_name_names_its_rows() -> None:
    [page] = (
        get_format(ODS)
        .readers[0](SourceFile(io.BytesIO(write_ods(ods_table(*ODS_ROWS).replace('"Fees"', '""')))))
        .pages
    )
    assert page.sections == [f"Rows 2 to 3\n\n{SHOWN}"]


def test_merged_names_are_joined_with_the_names_below() -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet.merge_range("A1:E1", "Yearly report")
        sheet.merge_range("A2:A3", "Region")
        sheet.merge_range("B2:C2", "Sales")
        sheet.merge_range("D2:E2", "Costs")
        put(sheet, 2, 1, [["Q1", "Q2", "Q1", "Q2"]])
        sheet.merge_range("A4:A5", "North")
        put(sheet, 3, 1, [[1, 2, 3, 4], [5, 6, 7, 8]])

    row = "Region: North\nSales Q1: {}\nSales Q2: {}\nCosts Q1: {}\nCosts Q2: {}"
    expected = ["Fees", "Yearly report", row.format(1, 2, 3, 4), row.format(5, 6, 7, 8)]
    assert read(write(fill)) == ["\n\n".join(expected)]


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (0.125, "0.0%", "12.5%"),
        (1234.5, "€#,##0.00", "€1,234.50"),
        (1234.5, '#,##0.00 "€"', "1,234.50 €"),
        (-1234.5, "[$$-409]#,##0.00;[Red]-[$$-409]#,##0.00", "-$1,234.50"),
        (7, "000", "007"),
        (3, "General", "3"),
        (0.1 + 0.2, "General", "0.3"),
        (4915112345678, "0", "4915112345678"),
        (datetime.fromisoformat("2024-03-01"), "dd/mm/yyyy", "2024-03-01"),
        (datetime.fromisoformat("2024-03-01T14:30"), "m/d/yy h:mm", "2024-03-01 14:30"),
        (date(1999, 12, 31), "[$-407]d. mmmm yyyy", "1999-12-31"),
        (time(9, 5), "h:mm AM/PM", "09:05"),
        (1.5, "[h]:mm", "36:00"),
        (45, '0 "metres"', "45 metres"),
        (True, "General", "TRUE"),
        (-5, "#,##0;(#,##0)", "(5)"),
        (-3, "0.00;[Red]-0.00", "-3.00"),
        (0, '#,##0;(#,##0);"none"', "none"),
        (0, '_("$"* #,##0.00_);_("$"* (#,##0.00);_("$"* "-"??_)', "$-"),
        (5551234, "[<=9999999]###-####;(###) ###-####", "555-1234"),
        (2125551234, "[<=9999999]###-####;(###) ###-####", "(212) 555-1234"),
        (5, "000-000", "000-005"),
        (12345, "#\\ ##0", "12 345"),
        (1234567, '0.0,,"M"', "1.2M"),
        (1, '"Yes";"Yes";"No"', "Yes"),
    ],
)
def test_numbers_are_shown_by_their_formats(value: Any, code: str, shown: str) -> None:
    def fill(book: Any, sheet: Any) -> None:
        number_format = book.add_format({"num_format": code})
        write_value = sheet.write_datetime if isinstance(value, (date, time)) else sheet.write
        write_value(0, 0, value, number_format)

    assert read(write(fill)) == [f"Fees\n\n{shown}"]


def test_numbers_that_a_format_hides_are_left_out() -> None:
    assert (show_number(7, ";;;"), show_number(-0.001, "0.0"), show_number(3, "")) == ("", "0.0", "3")


def test_dates_may_count_from_1904() -> None:
    assert show_number(0, "yyyy-mm-dd", since_1904=True) == "1904-01-01"


def test_formulas_show_their_stored_results_and_text_its_runs() -> None:
    def fill(book: Any, sheet: Any) -> None:
        sheet.write_formula(0, 0, "=1+2", None, 3)
        sheet.write_formula(0, 1, '="a"&"b"', None, "ab")
        sheet.write_rich_string(0, 2, "bold ", book.add_format({"bold": True}), "word", "s")
        sheet.write_url(0, 3, "https://example.org/", string="a link")
        sheet.write(0, 4, "two\nlines")

    assert read(write(fill)) == ["Fees\n\n3, ab, bold words, a link, two\nlines"]


def test_each_section_names_its_sheet_and_rows() -> None:
    rows = [[f"Boat {number}", "moored at the lock"] for number in range(200)]
    [page] = (
        get_format(XLSX)
        .readers[0](SourceFile(io.BytesIO(write(lambda _, sheet: put(sheet, 4, 0, [["Name", "Place"], *rows])))))
        .pages
    )
    places = [section.split("\n\n")[0] for section in page.sections]
    shown = [section.count("Name: Boat") for section in page.sections]
    numbers = [tuple(map(int, re.findall(r"\d+", place))) for place in places]
    assert [last - first + 1 for first, last in numbers] == shown
    assert (numbers[0][0], numbers[-1][1], sum(shown)) == (6, 205, 200)
    assert all(place.startswith("Fees, rows ") for place in places)
    assert max(map(len, page.sections)) < CHUNK_CHARACTERS


def test_objects_upon_the_cells_are_read() -> None:
    def fill(book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["Boat", "Fee"])
        sheet.write_row(1, 0, ["Barge", 12])
        sheet.insert_textbox("D5", "Fees rise in May")
        sheet.write_comment("B2", "Since 2024", {"author": "Ann"})
        chart = book.add_chart({"type": "column"})
        chart.add_series({"name": "=Fees!$B$1", "categories": "=Fees!$A$2:$A$2", "values": "=Fees!$B$2:$B$2"})
        chart.set_title({"name": "Fees of boats"})
        sheet.insert_chart("D9", chart)
        alone = book.add_chart({"type": "bar"})
        alone.add_series({"name": "Tolls", "values": "=Fees!$B$2:$B$2"})
        book.add_chartsheet("Chart").set_chart(alone)

    text, chart_sheet = read(write(fill))
    table, name, *objects = text.split("\n\n")[1:]
    assert name == "Fees"
    assert chart_sheet == "Chart\n\nTolls\n12"
    assert table == "Boat: Barge\nFee: 12"
    assert objects == ["Fees of boats\nFee\nBarge | 12", "Fees rise in May", "Comment by Ann on B2: Since 2024"]


def test_comments_with_replies_are_read_once() -> None:
    comment = "<comment ref='A1' authorId='0'><text><t>{}</t></text></comment>"
    parts = {
        "xl/worksheets/_rels/sheet1.xml.rels": relate(("comments", "/xl/c.xml"), ("threadedComment", "/xl/t.xml")),
        "xl/c.xml": ("<comments><authors><author>tc=1</author></authors><commentList>"
                     + comment.format("[Threaded comment] Your version cannot show it. Comment: When?")
                     + "</commentList></comments>").encode(),
        "xl/t.xml": b"<ThreadedComments><threadedComment ref='A1' personId='p'><text>When?</text></threadedComment>"
                    b"<threadedComment ref='A1' personId='q'><text>In May</text></threadedComment></ThreadedComments>",
        "xl/p.xml": b"<personList><person id='p' displayName='Ann'/></personList>",
    }  # fmt: skip
    with ZipFile(io.BytesIO(write(lambda _, sheet: put(sheet, 0, 0, [["x"]])))) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()} | parts
    relationship = b'<Relationship Id="p" Type="http://x/person" Target="p.xml"/></Relationships>'
    related = "xl/_rels/workbook.xml.rels"
    parts[related] = parts[related].replace(b"</Relationships>", relationship)
    assert read(pack(parts)) == ["Fees\n\nx\n\nFees\n\nComment by Ann on A1: When?\n\nComment on A1: In May"]


def test_formulas_without_results_are_said() -> None:
    book = openpyxl.Workbook()
    book.active.append(["text", "=1+1"])
    file = io.BytesIO()
    book.save(file)
    file.seek(0)
    [page] = get_format(XLSX).readers[0](SourceFile(file)).pages
    assert ("".join(page.sections), [warning.code for warning in page.warnings]) == (
        "Sheet, row 1\n\ntext",
        [WarningCode.TEXT_NOT_EXTRACTED],
    )


def change(name: str, edit: Callable[[bytes], bytes | None]) -> bytes:
    with ZipFile(io.BytesIO(write(lambda _, sheet: put(sheet, 0, 0, ROWS)))) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    edited = edit(parts.pop(name))
    return pack(parts | ({} if edited is None else {name: edited}))


SHEET = "xl/worksheets/sheet1.xml"


def test_sparse_and_empty_sheets_cost_little() -> None:
    """As a table, the diagonal would have 225 million cells."""
    column = "".join(
        f'<row r="{row}"><c r="{get_column_letter(row)}{row}"><v>{row}</v></c></row>' for row in range(1, 15_001)
    )
    empty = "".join(f'<row r="{row}" ht="30"/>' for row in range(15_001, 60_000))
    rows = f"<sheetData>{column}{empty}</sheetData>".encode()
    [text] = read(change(SHEET, lambda data: re.sub(rb"<sheetData>.*</sheetData>", rows, data)))
    assert text.startswith("Fees\n\n1\n\n2\n\n")
    assert text.endswith("\n\n15000")


@pytest.mark.parametrize("edit", [lambda _: None, lambda data: data[:-9], lambda _: b""])
def test_missing_or_broken_sheet_is_noted(edit: Callable[[bytes], bytes | None]) -> None:
    extraction = get_format(XLSX).readers[0](SourceFile(io.BytesIO(change(SHEET, edit))))
    [page] = extraction.pages
    assert [warning.code for warning in page.warnings] == ["parts_skipped"]


@pytest.mark.parametrize(
    ("part", "edit"),
    [
        (SHEET, lambda data: BILLION_LAUGHS.encode() + data[data.index(b"<worksheet") :]),
        ("xl/workbook.xml", lambda _: b"<x/"),
        ("[Content_Types].xml", lambda _: b"<Types/>"),
    ],
)
def test_bombs_and_other_files_are_malformed(part: str, edit: Callable[[bytes], bytes]) -> None:
    with pytest.raises(IngestionError) as caught:
        read(change(part, edit))
    assert caught.value.failure == FailureCode.MALFORMED


@pytest.mark.parametrize("reference", ["A1:XFD1048576", "A0:B2", "ZZZ1:ZZZ9", "A1", "B9:A1", "A1:A1048576"])
def test_merged_cells_of_any_size_cost_little(reference: str) -> None:
    merged = f'<mergeCells><mergeCell ref="{reference}"/></mergeCells></worksheet>'.encode()
    [text] = read(change(SHEET, lambda data: data.replace(b"</worksheet>", merged)))
    assert "Punt" in text


WORDS = " ".join(LANGUAGES[name].text for name in SCRIPTS).split()
CELLS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_cells_of_every_script_come_back_in_order(rows: list[list[str]]) -> None:
    [text] = read(write(lambda _, sheet: put(sheet, 3, 3, [["name", "price"], *rows])))
    position = 0
    for cell in (cell for row in rows for cell in row):
        position = text.index(cell, position) + len(cell)


ODS = "application/vnd.oasis.opendocument.spreadsheet"
XLS = "application/vnd.ms-excel"
SPACES = (
    "".join(
        f' xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for prefix, name in (
            ("office", "office"),
            ("table", "table"),
            ("text", "text"),
            ("style", "style"),
            ("draw", "drawing"),
        )
    )
    + ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
)
STYLES = '<style:style style:name="h"><style:table-properties table:display="false"/></style:style>'


def read_as(media_type: str, data: bytes) -> list[str]:
    return read(data, media_type)


def write_ods(*tables: str, before: str = "", parts: Mapping[str, bytes] | None = None) -> bytes:
    body = f"<office:body><office:spreadsheet>{''.join(tables)}</office:spreadsheet></office:body>"
    styles = f"<office:automatic-styles>{STYLES}</office:automatic-styles>"
    content = f"{before}<office:document-content{SPACES}>{styles}{body}</office:document-content>"
    return pack({"mimetype": ODS.encode(), "content.xml": content.encode(), **(parts or {})})


def ods_cell(text: str, attributes: str = "") -> str:
    return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"


def ods_row(*cells: str, attributes: str = "") -> str:
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def ods_table(*rows: str, attributes: str = "") -> str:
    return f'<table:table table:name="Fees" {attributes}>{"".join(rows)}</table:table>'


ODS_ROWS = [ods_row(*(ods_cell(str(value)) for value in row)) for row in ROWS]
GAP = '<table:table-cell table:number-columns-repeated="16000"/>'


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        (ods_table(*ODS_ROWS), SHOWN),
        (ods_table(ods_row(GAP, attributes='table:number-rows-repeated="1048000"'), *ODS_ROWS), SHOWN),
        (ods_table(ODS_ROWS[0], ods_row(ods_cell("x"), attributes='table:visibility="filter"'), *ODS_ROWS[1:]), SHOWN),
        (ods_table("<table:table-header-rows>", ODS_ROWS[0], "</table:table-header-rows>", *ODS_ROWS[1:]), SHOWN),
        (ods_table(ods_row(ods_cell("a<text:line-break/>b<text:s text:c='2'/>c<text:tab/>d"))), "a\nb  c\td"),
        (ods_table(ods_row('<table:table-cell office:value="7"/>')), "7"),
        (ods_table(ods_row("<table:table-cell/>", ods_cell("x", 'table:number-columns-repeated="3"'))), "x, x, x"),
        (
            ods_table(
                ods_row(
                    "<table:table-cell><text:p>12 <text:span>€"
                    "</text:span></text:p><text:p>net</text:p></table:table-cell>"
                )
            ),
            "12 €\nnet",
        ),
        (
            ods_table(
                "<table:shapes><draw:frame><draw:text-box><text:p>in a box</text:p></draw:text-box></draw:frame></table:shapes>",
                ods_row(
                    "<table:table-cell><office:annotation><dc:creator>Ann</dc:creator><text:p>why?</text:p>"
                    "</office:annotation><text:p>12</text:p><draw:rect><text:p>upon</text:p></draw:rect></table:table-cell>"
                ),
            ),
            "12\n\nFees\n\nin a box\n\nComment by Ann: why?\n\nupon",
        ),
        (
            ods_table(
                ods_row(ods_cell("Fees", 'table:number-columns-spanned="2"'), "<table:covered-table-cell/>"), *ODS_ROWS
            ),
            f"Fees\n\n{SHOWN}",
        ),
        (
            ods_table(
                '<table:table-column/><table:table-column table:visibility="collapse"/><table:table-column/>',
                *(ods_row(ods_cell(str(a)), ods_cell("x"), ods_cell(str(b))) for a, b in ROWS),
            ),
            SHOWN,
        ),
    ],
)
def test_ods_shows_the_text_of_its_cells(table: str, shown: str) -> None:
    hidden = ods_table(ods_row(ods_cell("secret")), attributes='table:style-name="h"').replace('"Fees"', '"hid"')
    assert read_as(ODS, write_ods(table, hidden)) == [f"Fees\n\n{shown}"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (write_ods(ods_table(*ODS_ROWS), before=BILLION_LAUGHS), FailureCode.MALFORMED),
        (
            write_ods(ods_table(*ODS_ROWS), parts={"META-INF/manifest.xml": b"<encryption-data/>"}),
            FailureCode.ENCRYPTED,
        ),
        (pack({"mimetype": ODS.encode()}), FailureCode.MALFORMED),
        (write_ods(ods_table(*ODS_ROWS))[:-30], FailureCode.MALFORMED),
    ],
)
def test_hostile_ods_ends_in_its_class(data: bytes, code: FailureCode) -> None:
    with pytest.raises(IngestionError) as caught:
        read_as(ODS, data)
    assert caught.value.failure == code


def test_repeated_rows_and_cells_of_ods_cost_little() -> None:
    repeated = 'table:number-rows-repeated="999999999"'
    cell = ods_cell("x", 'table:number-columns-repeated="999999999"')
    [text] = read_as(ODS, write_ods(ods_table(ods_row(ods_cell("y"), attributes=repeated), ods_row(cell))))
    assert text.count("y") == 1000


def write_xls() -> bytes:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Fees")
    for row, values in enumerate(ROWS):
        for column, value in enumerate(values):
            sheet.write(row + 5, column + 2, value)
    sheet.write(8, 2, datetime.fromisoformat("2024-03-01"), xlwt.easyxf(num_format_str="DD/MM/YYYY"))
    hidden = book.add_sheet("secret")
    hidden.write(0, 0, "x")
    hidden.visibility = 1
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_xls_is_read() -> None:
    assert read_as(XLS, write_xls()) == [f"Fees\n\n{SHOWN}\n\nBoat: 2024-03-01"]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"<html><table><tr><td>Boat</td><td>Fee</td></tr></table></html>", "Boat Fee"),
        (b"Boat\tFee\nBarge\t12\nPunt\t3\n", SHOWN),
        ("Boat\tFee\nBarge\t12\nPunt\t3\n".encode("utf-16"), SHOWN),
        (b"sep=;\nBoat;Fee\nBarge;12\nPunt;3\n", SHOWN),
    ],
)
def test_what_is_only_named_xls_is_read_as_what_it_is(data: bytes, shown: str) -> None:
    assert read_as(XLS, data) == [shown]


@pytest.mark.parametrize("length", [600, 2000, 4096])
def test_broken_xls_is_malformed(length: int) -> None:
    with pytest.raises(IngestionError) as caught:
        read_as(XLS, write_xls()[:length])
    assert caught.value.failure == FailureCode.MALFORMED


@pytest.mark.parametrize("parts", [{"a.bin": b"\0" * 20_000_000}, {"xl/workbook.bin": b"x"}, {"../x": b""}])
def test_archive_of_xlsb_is_checked_before_it_is_read(parts: dict[str, bytes]) -> None:
    with pytest.raises(IngestionError) as caught:
        read_as(XLS, pack(parts, level=9))
    assert caught.value.failure in (FailureCode.TOO_LARGE, FailureCode.MALFORMED)
