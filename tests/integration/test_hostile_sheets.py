"""Spreadsheets that are much larger than their files. Each is read in linear time, or refused."""

import struct
from collections.abc import Callable

import pytest

from pipeline.sandbox.pool import Sandbox
from tests.archives import OFFICE, TYPES, Parts, pack, relate
from tests.integration.test_hostile_formats import find_end
from tests.samples import SAMPLES, write_open_document, write_xlsb

pytestmark = pytest.mark.anyio

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLS = "application/vnd.ms-excel"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
MANY = 100_000
SHARED = '<row><c t="s"><v>0</v></c></row>'
TEXT = '<row r="1"><c r="A1" t="inlineStr"><is><t>text</t></is></c><c r="B1"><v>1</v></c></row>'


def xlsx_parts(rows: str, before: str = "", after: str = "", shared: str = "", styles: str = "") -> Parts:
    names = f'<sheets><sheet name="S" sheetId="1" r:id="r1" xmlns:r="{OFFICE}"/></sheets>'
    types = f'<Types xmlns="{TYPES}"><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
    return {
        "[Content_Types].xml": types.encode(),
        "_rels/.rels": relate(("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}">{names}</workbook>'.encode(),
        "xl/_rels/workbook.xml.rels": relate(
            ("worksheet", "sheet.xml"), ("sharedStrings", "shared.xml"), ("styles", "styles.xml")
        ),
        "xl/sheet.xml": f'<worksheet xmlns="{MAIN}">{before}<sheetData>{rows}</sheetData>{after}</worksheet>'.encode(),
        "xl/shared.xml": f'<sst xmlns="{MAIN}"><si><t>{shared}</t></si></sst>'.encode(),
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}">{styles}</styleSheet>'.encode(),
    }


def write_xlsx(*arguments: str, **more: str) -> bytes:
    return pack(xlsx_parts(*arguments, **more))


def write_ods(*rows: str) -> bytes:
    return write_open_document("spreadsheet", f'<table:table table:name="S">{"".join(rows)}</table:table>')


def repeat(count: int, columns: int = 1, text: str = "text") -> str:
    cell = f'<table:table-cell table:number-columns-repeated="{columns}"><text:p>{text}</text:p></table:table-cell>'
    return f'<table:table-row table:number-rows-repeated="{count}">{cell}</table:table-row>'


def write_endless_xls() -> bytes:
    """Return a workbook whose first sector is also the one after it. calamine reads it until the memory is full."""
    data = bytearray(SAMPLES[XLS])
    [table] = struct.unpack_from("<I", data, 76)
    struct.pack_into("<I", data, 512 * (table + 1), 0)
    return bytes(data)


NUMBER_FORMAT = '<numFmts><numFmt numFmtId="200" formatCode="{}"/></numFmts><cellXfs><xf numFmtId="200"/></cellXfs>'
TABLE = '<table:table table:name="T"><table:table-row><table:table-cell><text:p>text</text:p></table:table-cell></table:table-row></table:table>'
HIDDEN = '<table:table table:name="{}"><table:table-row table:visibility="collapse" table:number-rows-repeated="1048576"/></table:table>'

FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "16,384 empty columns": (
        XLSX,
        lambda: write_xlsx(f'<row>{"<c/>" * 16_383}<c t="inlineStr"><is><t>text</t></is></c></row>' * 10),
        "text",
    ),
    "1,048,576 rows": (XLSX, lambda: write_xlsx("<row/>" * 1_048_575 + SHARED, shared="text"), "text"),
    "columns that are hidden many times": (
        XLSX,
        lambda: write_xlsx(TEXT, before="<col min='2' max='16384' hidden='1'/>" * MANY),
        "text",
    ),
    "cells that are merged forth and back": (
        XLSX,
        lambda: write_xlsx(TEXT, after="<mergeCell ref='A1:A90000'/><mergeCell ref='C90000:C1'/>" * 5000),
        "text",
    ),
    "a long text in each merged cell": (
        XLSX,
        lambda: write_xlsx(
            SHARED.replace("</row>", "<c><v>1</v></c></row>") + "<row><c/><c><v>1</v></c></row>" * 50_000,
            shared="x" * 30_000,
            after="<mergeCell ref='A1:A50000'/>",
        ),
        "too_large",
    ),
    "a long shared text": (XLSX, lambda: write_xlsx(SHARED * MANY, shared="x" * MANY), "too_large"),
    "a long number format": (
        XLSX,
        lambda: write_xlsx(TEXT + '<row><c s="0"><v>1</v></c></row>', styles=NUMBER_FORMAT.format("[$" * MANY)),
        "text",
    ),
    "deep text": (
        XLSX,
        lambda: write_xlsx(f'<row><c t="inlineStr"><is>{"<r>" * MANY}text{"</r>" * MANY}</is></c></row>'),
        "malformed",
    ),
    "a repeated column": (ODS, lambda: write_ods(repeat(1, 16_384)), "text"),
    "a repeated row": (ODS, lambda: write_ods(repeat(1_048_576)), "text"),
    "repeated columns in repeated rows": (ODS, lambda: write_ods(repeat(1_048_576, 16_384) * 100), "text"),
    "a long text that is repeated": (ODS, lambda: write_ods(repeat(1000, text="x" * 10 * MANY)), "too_large"),
    "many sheets of hidden rows": (
        ODS,
        lambda: write_open_document("spreadsheet", "".join(map(HIDDEN.format, range(90))) + TABLE),
        "text",
    ),
    "deep tables": (
        ODS,
        lambda: write_ods(repeat(1), "<table:table-row><table:table-cell><table:table>" * 20_000, "</table:table></table:table-cell></table:table-row>" * 20_000),
        "text",
    ),
    "a binary workbook": (XLS, lambda: pack(write_xlsb()), "text"),
    # calamine makes room for all cells between the first and the last one, and aborts if there is not enough memory.
    "a binary workbook with a cell far away": (XLS, lambda: pack(write_xlsb(1_048_575, 16_383)), "malformed"),
    "a binary workbook that goes on at its own beginning": (XLS, write_endless_xls, "malformed"),
    "a binary workbook without its end": (XLS, lambda: SAMPLES[XLS][:1500], "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
async def test_sheets(sandbox: Sandbox, name: str) -> None:
    media_type, build, end = FILES[name]
    found = await find_end(sandbox, media_type, build())
    assert end in found
    assert len(found) < 2_000_000
