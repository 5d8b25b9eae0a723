"""Text of presentations: all that the slides show, in reading order."""

import io
from typing import Any, cast

import pptx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from pipeline.errors import IngestionError
from pipeline.stages.extract.format import ExtractedPage, SourceFile
from pipeline.stages.extract.formats.pptx import MAIN_TYPES, read
from pipeline.stages.extract.office.layout import Box, order
from pipeline.types import WarningCode
from tests.archives import DRAWING, OFFICE, SLIDES, Parts, pack, pptx_parts, relate, write_shape, write_slide
from tests.languages import SCRIPTS

MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
COMPATIBILITY = "http://schemas.openxmlformats.org/markup-compatibility/2006"
NAMESPACES = {
    "p": SLIDES,
    "a": DRAWING,
    "r": OFFICE,
    "m": MATH,
    "mc": COMPATIBILITY,
    "dgm": "http://schemas.openxmlformats.org/drawingml/2006/diagram",
    "c": "http://schemas.openxmlformats.org/drawingml/2006/chart",
    "p188": "http://schemas.microsoft.com/office/powerpoint/2018/8/main",
}
DECLARED = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in NAMESPACES.items())


def part(root: str, content: str) -> bytes:
    return f"<{root} {DECLARED}>{content}</{root}>".encode()


def slide(shapes: str, attributes: str = "") -> bytes:
    return f"<p:sld {attributes} {DECLARED}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>".encode()


def read_pages(data: bytes) -> list[ExtractedPage]:
    extraction = read(SourceFile(io.BytesIO(data)))
    pages = list(extraction.pages)
    assert len(pages) == extraction.count
    return pages


def read_texts(data: bytes) -> list[str]:
    return ["".join(page.sections) for page in read_pages(data)]


def read_slide(shapes: str, parts: Parts | None = None, *targets: tuple[str, str]) -> str:
    related = {"ppt/slides/_rels/slide1.xml.rels": relate(*targets)} if targets else {}
    [text] = read_texts(pack({**pptx_parts(slide(shapes)), **related, **(parts or {})}))
    return text


def save(presentation: object) -> bytes:
    file = io.BytesIO()
    presentation.save(file)  # type: ignore[attr-defined]  # python-pptx has a function for a class
    return file.getvalue()


def place(left: int, top: int, width: int = 10, height: int = 10) -> str:
    return f'<a:xfrm><a:off x="{left}" y="{top}"/><a:ext cx="{width}" cy="{height}"/></a:xfrm>'


def shape(text: str, *corners: int, kind: str = "", properties: str = "") -> str:
    placeholder = f'<p:nvPr><p:ph type="{kind}"/></p:nvPr>' if kind else "<p:nvPr/>"
    own = f"<p:spPr>{place(*corners)}</p:spPr>" if corners else "<p:spPr/>"
    name = f"<p:nvSpPr><p:cNvPr {properties}/>{placeholder}</p:nvSpPr>"
    return f"<p:sp>{name}{own}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"


def group(*shapes: str, at: tuple[int, int] = (0, 0)) -> str:
    return f"<p:grpSp><p:nvGrpSpPr/><p:grpSpPr>{place(*at)}</p:grpSpPr>{''.join(shapes)}</p:grpSp>"


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([shape("2", 0, 50), shape("1", 0, 0)], "1 2"),
        ([shape("2", 50, 1), shape("1", 0, 0)], "1 2"),
        ([shape("2", 50, -1), shape("1", 0, 0)], "1 2"),
        ([shape("4", 50, 50), shape("2", 50, 0), shape("3", 0, 50), shape("1", 0, 0)], "1 2 3 4"),
        ([shape("3", 50, 20), shape("2", 55, 0), shape("1", 0, 0, 10, 40)], "1 2 3"),
        ([shape("body", 0, 0), shape("head", 0, 99, kind="title")], "head body"),
        ([shape("2", 0, 30), group(shape("b", 9, 90), shape("a", 9, 0), at=(0, 0))], "a b 2"),
        ([group(group(shape("in", 5, 5), at=(5, 50)), shape("top", 0, 0)), shape("z", 0, 90)], "top in z"),
        ([shape("1"), shape("2"), shape("3")], "1 2 3"),
        ([shape("3", 55, 10, 45, 40), shape("2", 0, 11, 45, 40), shape("1", 0, 0, 100, 12)], "1 2 3"),
        ([shape("b", 2, 2), shape("a", 0, 0), shape("c", 2, 2)], "a b c"),
    ],
)
def test_reading_order(shapes: list[str], text: str) -> None:
    assert read_slide("".join(shapes)).split() == text.split()


BOXES = st.builds(Box, *[st.integers(0, 20)] * 4)


@given(st.lists(BOXES, max_size=12))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_order_loses_no_box_and_puts_those_below_later(boxes: list[Box]) -> None:
    ordered = [number for _, number in order([(box, number) for number, box in enumerate(boxes)])]
    assert sorted(ordered) == list(range(len(boxes)))
    column = [Box(0, box.top * 100, 10, 10) for box in boxes]
    tops = [box.top for box, _ in order([(box, None) for box in column])]
    assert tops == sorted(tops)


@pytest.mark.parametrize(
    "hidden",
    [
        shape("x", 0, 0, properties='hidden="1"'),
        shape("x", 5000, 0),
        shape("x", 0, -500),
        shape("x", 0, 0, kind="sldNum"),
        '<p:grpSp><p:nvGrpSpPr><p:cNvPr hidden="true"/></p:nvGrpSpPr>' + shape("x") + "</p:grpSp>",
    ],
)
def test_what_is_not_on_the_slide_is_not_read(hidden: str) -> None:
    parts = pptx_parts(slide(hidden + shape("seen", 9, 9)))
    main = parts["ppt/presentation.xml"].replace(b"</p:sldIdLst>", b'</p:sldIdLst><p:sldSz cx="1000" cy="500"/>')
    assert read_texts(pack({**parts, "ppt/presentation.xml": main})) == ["seen"]


def test_places_come_from_layouts_and_masters() -> None:
    def lay_out(*shapes: str) -> bytes:
        return slide("".join(shapes))

    shapes = shape("below", kind="body") + shape("above", kind="pic") + shape("middle", 0, 50)
    parts = {
        "l.xml": lay_out(shape("Click to edit", kind="body"), shape("Click", 0, 1, kind="pic")),
        "_rels/l.xml.rels": relate(("slideMaster", "m.xml")),
        "m.xml": lay_out(shape("Click to edit the master", 0, 90, kind="body")),
    }
    assert read_slide(shapes, parts, ("slideLayout", "/l.xml")).split() == ["above", "middle", "below"]


def picture(description: str) -> str:
    return f'<p:pic><p:nvPicPr><p:cNvPr id="1" name="Picture 1" descr="{description}"/></p:nvPicPr></p:pic>'


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("Floor plan of the second floor", "Floor plan of the second floor"),
        ("  two\n lines ", "two lines"),
        ("image1.png", ""),
        ("C:\\Users\\me\\My photo.JPG", ""),
        ("", ""),
    ],
)
def test_descriptions_of_pictures(description: str, text: str) -> None:
    assert read_slide(picture(description)) == text


def test_charts() -> None:
    presentation = pptx.Presentation()
    page = presentation.slides.add_slide(presentation.slide_layouts[5])
    page.shapes.title.text = "Sales"
    data: Any = cast("Any", CategoryChartData)()
    data.categories = ["North", "South"]
    data.add_series("2025", (1.5, 20))
    data.add_series("2026", (3, None))
    frame = page.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, Inches(3), Inches(4), Inches(3), data)
    frame.chart.has_title = True
    frame.chart.chart_title.text_frame.text = "Sales by region"
    frame.chart.value_axis.has_title = True
    frame.chart.value_axis.axis_title.text_frame.text = "Millions"
    points: Any = cast("Any", XyChartData)()
    points.add_series("Flow").add_data_point(7, 2.5)
    page.shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, Inches(5), Inches(3), Inches(4), Inches(3), points)
    [text] = read_texts(save(presentation))
    assert text == ("Sales\n\nSales by region\nMillions\n2025 | 2026\nNorth | 1.5 | 3\nSouth | 20\n\nFlow\n7 | 2.5")


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        ("12.0", "General", "12"),
        ("0.350", "0%", "35%"),
        ("0.12345", "0.0%", "12.3%"),
        ("2.5", "#,##0.00", "2.50"),
        ("46023", "mmm\\-yy", "2026-01-01"),
        ("46023.75", "d/m/yyyy hh:mm", "2026-01-01"),
        ("5", '0" days"', "5"),
        ("5", "[Red]0", "5"),
        ("99999999", "yyyy", "99999999"),
        ("1E+300", "0%", "1E+300"),
        ("North", "0%", "North"),
    ],
)
def test_numbers_of_charts_are_written_as_charts_show_them(value: str, form: str, text: str) -> None:
    escaped = form.replace('"', "&quot;")
    points = f"<c:formatCode>{escaped}</c:formatCode><c:pt idx='0'><c:v>{value}</c:v></c:pt>"
    chart = part(
        "c:chartSpace", f"<c:ser><c:val><c:numRef><c:numCache>{points}</c:numCache></c:numRef></c:val></c:ser>"
    )
    frame = '<p:graphicFrame><c:chart r:id="r1"/></p:graphicFrame>'
    assert read_slide(frame, {"c.xml": chart}, ("chart", "/c.xml")) == text


def test_tables_with_merged_cells() -> None:
    presentation = pptx.Presentation()
    page = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = page.shapes.add_table(3, 3, 0, 0, Inches(4), Inches(2)).table
    table.cell(0, 0).merge(table.cell(1, 0))
    table.cell(2, 0).merge(table.cell(2, 1))
    for row, column, text in [(0, 0, "North"), (0, 1, "Desk"), (0, 2, "120"), (1, 1, "Lamp"), (1, 2, "45")]:
        table.cell(row, column).text = text
    table.cell(2, 0).text, table.cell(2, 2).text = "Total\nof all", "165"
    assert read_texts(save(presentation)) == ["North | Desk | 120\nNorth | Lamp | 45\nTotal of all | 165"]


def paragraph(text: str, properties: str = "", level: int = 0) -> str:
    return f'<a:p><a:pPr lvl="{level}">{properties}</a:pPr><a:r><a:t>{text}</a:t></a:r></a:p>'


def number(kind: str, more: str = "") -> str:
    return f'<a:buAutoNum type="{kind}" {more}/>'


@pytest.mark.parametrize(
    ("paragraphs", "text"),
    [
        ([("a", number("arabicPeriod"), 0), ("b", number("arabicPeriod"), 0)], "1. a\n2. b"),
        ([("a", number("alphaLcParenR", 'startAt="3"'), 0)], "c) a"),
        ([("a", number("romanUcParenBoth"), 0)] * 2, "(I) a\n(II) a"),
        (
            [("a", number("arabicPlain"), n) for n in (0, 1, 1, 0, 1)],
            "1 a\n1 a\n2 a\n2 a\n1 a",
        ),
        ([("a", number("arabicPeriod"), 0), ("b", "", 0), ("c", number("arabicPeriod"), 0)], "1. a\nb\n1. c"),
        ([("a", '<a:buChar char="x"/>', 0)], "a"),
        ([("a", number("circleNumDbPlain"), 0)], "① a"),
        ([("a", number("ea1JpnKorPeriod"), 0)], "一. a"),
        ([("a", number("unknown"), 0)], "1. a"),
    ],
)
def test_list_numbers(paragraphs: list[tuple[str, str, int]], text: str) -> None:
    body = "".join(paragraph(*parts) for parts in paragraphs)
    assert read_slide(f"<p:sp><p:nvSpPr/><p:txBody>{body}</p:txBody></p:sp>") == text


def test_list_numbers_of_the_text_box() -> None:
    style = f"<a:lstStyle><a:lvl1pPr>{number('arabicPeriod')}</a:lvl1pPr></a:lstStyle>"
    body = style + paragraph("a") + paragraph("b", "<a:buNone/>") + paragraph("c")
    assert read_slide(f"<p:sp><p:nvSpPr/><p:txBody>{body}</p:txBody></p:sp>") == "1. a\nb\n1. c"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<a:r><a:t>a</a:t></a:r><a:br/><a:r><a:t>b</a:t></a:r>", "a\nb"),
        ('<a:fld type="datetime"><a:rPr/><a:t>3 May</a:t></a:fld>', "3 May"),
        ('<a:r><a:t>10</a:t></a:r><a:r><a:rPr baseline="30000"/><a:t>6</a:t></a:r>', "10^6"),
        ('<a:r><a:t>m</a:t></a:r><a:r><a:rPr baseline="30000"/><a:t>2</a:t></a:r>', "m2"),
        (
            "<mc:AlternateContent><mc:Choice><m:oMath><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>c</m:t></m:r></m:den></m:f></m:oMath></mc:Choice><mc:Fallback><a:r><a:t>x</a:t></a:r></mc:Fallback></mc:AlternateContent>",
            "(a+b)/c",
        ),
    ],
)
def test_paragraphs(content: str, text: str) -> None:
    assert read_slide(f"<p:sp><p:nvSpPr/><p:txBody><a:p>{content}</a:p></p:txBody></p:sp>") == text


def test_diagrams_stand_where_they_are_shown() -> None:
    frame = f'<p:graphicFrame><p:nvGraphicFramePr/><p:xfrm>{place(0, 20)[8:-9]}</p:xfrm><dgm:relIds r:dm="r1"/></p:graphicFrame>'
    diagram = part("dgm:dataModel", "<a:p><a:r><a:t>Plan</a:t></a:r></a:p><a:p/><a:p><a:r><a:t>Build</a:t></a:r></a:p>")
    shapes = frame + shape("below", 0, 50) + shape("above", 0, 0)
    text = read_slide(shapes, {"ppt/d.xml": diagram}, ("diagramData", "/ppt/d.xml"))
    assert text == "above\n\nPlan\nBuild\n\nbelow"


def test_footers_are_read_once_and_hidden_slides_like_others() -> None:
    footed = [slide(shape(f"slide {n}") + shape("ACME", kind="ftr"), 'show="0"' if n == 2 else "") for n in (1, 2, 3)]
    assert read_texts(pack(pptx_parts(*footed))) == ["slide 1\n\nACME", "slide 2", "slide 3"]


def test_notes_and_comments_follow() -> None:
    parts = {
        "ppt/_rels/presentation.xml.rels": relate(
            ("slide", "slides/slide1.xml"), ("commentAuthors", "a.xml"), ("authors", "b.xml")
        ),
        "ppt/a.xml": part("p:cmAuthorLst", '<p:cmAuthor id="0" name="Alma Reyes"/>'),
        "ppt/b.xml": part("p188:authorLst", '<p188:author id="{G}" name="Bo"/>'),
        "ppt/c.xml": part("p:cmLst", '<p:cm authorId="0"><p:text>Says who?</p:text></p:cm>'),
        "ppt/d.xml": part(
            "p188:cmLst",
            '<p188:cm authorId="{G}"><p188:replyLst><p188:reply><p188:txBody><a:p><a:r><a:t>Me.</a:t></a:r></a:p></p188:txBody></p188:reply></p188:replyLst><p188:txBody><a:p><a:r><a:t>New?</a:t></a:r></a:p></p188:txBody></p188:cm><p188:cm/>',
        ),
        "ppt/n.xml": write_slide(write_shape("7", placeholder="sldNum") + write_shape("note", placeholder="body")),
    }
    targets = [("comments", "/ppt/c.xml"), ("comments", "/ppt/d.xml"), ("notesSlide", "/ppt/n.xml")]
    text = read_slide(shape("text"), parts, *targets)
    assert text == "text\n\nnote\n\nComment by Alma Reyes: Says who?\n\nComment by Bo: Me. New?"
    elsewhere = {"ppt/n.xml": write_slide(write_shape("7", placeholder="sldNum") + write_shape("note"))}
    assert read_slide(shape("text"), elsewhere, ("notesSlide", "/ppt/n.xml")) == "text\n\nnote"


def test_missing_slides_are_left_out_with_a_warning() -> None:
    parts = pptx_parts(slide(shape("one")), slide(shape("two")), slide(shape("three")))
    without = {name: data for name, data in parts.items() if "slide2" not in name}
    pages = read_pages(pack(without))
    assert ["".join(page.sections) for page in pages] == ["one", "three"]
    assert [[warning.code for warning in page.warnings] for page in pages] == [[WarningCode.PARTS_SKIPPED]] * 2
    renamed = parts["ppt/presentation.xml"].replace(b'"r2"', b'"r99"')
    assert read_texts(pack({**parts, "ppt/presentation.xml": renamed})) == ["one", "three", "two"]
    with pytest.raises(IngestionError, match="lacks all its slides"):
        read_pages(pack({name: data for name, data in parts.items() if "slides/" not in name}))
    assert all(not page.warnings for page in read_pages(pack(parts)))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('<c:chart r:id="r9"/>', WarningCode.PARTS_SKIPPED),
        ('<dgm:relIds r:dm="r9"/>', WarningCode.PARTS_SKIPPED),
        ("<mc:AlternateContent><mc:Choice><p:oleObj/></mc:Choice></mc:AlternateContent>", WarningCode.TEXT_NOT_EXTRACTED),
    ],
)  # fmt: skip
def test_what_is_left_out_is_said(frame: str, code: WarningCode) -> None:
    [page] = read_pages(pack(pptx_parts(slide(f"<p:graphicFrame>{frame}</p:graphicFrame>" + shape("kept")))))
    assert page.sections == ["kept"]
    assert [warning.code for warning in page.warnings] == [code]


@pytest.mark.parametrize("kind", MAIN_TYPES)
def test_shows_templates_and_presentations_with_macros(kind: str) -> None:
    parts = pptx_parts(slide(shape("text")))
    types = parts["[Content_Types].xml"].replace(MAIN_TYPES[0].encode(), kind.encode())
    assert read_texts(pack({**parts, "[Content_Types].xml": types})) == ["text"]


def test_strict_presentations_are_read() -> None:
    strict = {SLIDES: "http://purl.oclc.org/ooxml/presentationml/main", DRAWING: "http://purl.oclc.org/ooxml/drawingml/main"}  # fmt: skip
    parts = pptx_parts(slide(shape("2", 0, 50) + shape("1", 0, 0)))
    for name in ("ppt/presentation.xml", "ppt/slides/slide1.xml"):
        for transitional, other in strict.items():
            parts[name] = parts[name].replace(transitional.encode(), other.encode())
    assert read_texts(pack(parts)) == ["1\n\n2"]


def test_pictures_of_python_pptx_have_no_text() -> None:
    presentation = pptx.Presentation()
    dot = io.BytesIO()
    Image.new("RGB", (1, 1)).save(dot, "PNG")
    presentation.slides.add_slide(presentation.slide_layouts[6]).shapes.add_picture(dot, 0, 0)
    assert read_texts(save(presentation)) == [""]


TEMPLATE = save(pptx.Presentation())


@st.composite
def decks(draw: st.DrawFn) -> list[tuple[list[str], list[list[str]]]]:
    """Draw for each slide paragraphs and the rows of a table, in words of one script."""
    words = st.sampled_from(draw(st.sampled_from(sorted(SCRIPTS.values()))))
    texts = st.lists(words, min_size=1, max_size=5).map(" ".join)
    rows = st.lists(st.lists(texts, min_size=2, max_size=2), min_size=1, max_size=3)
    return draw(st.lists(st.tuples(st.lists(texts, min_size=1, max_size=3), rows), min_size=1, max_size=3))


@given(decks())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_words_come_back_in_their_order(deck: list[tuple[list[str], list[list[str]]]]) -> None:
    presentation = pptx.Presentation(io.BytesIO(TEMPLATE))
    for paragraphs, rows in deck:
        page = presentation.slides.add_slide(presentation.slide_layouts[5])
        table = page.shapes.add_table(len(rows), 2, 0, Inches(4), Inches(5), Inches(2)).table
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                table.cell(row, column).text = text
        page.shapes.add_textbox(0, Inches(2), Inches(5), Inches(1)).text_frame.text = "\n".join(paragraphs[1:])
        page.shapes.title.text = paragraphs[0]
    expected = [
        [word for text in [*paragraphs, *(" ".join(row) for row in rows)] for word in text.split()]
        for paragraphs, rows in deck
    ]
    assert [text.replace("|", " ").split() for text in read_texts(save(presentation))] == expected


def write_run(text: str, fonts: str = "") -> str:
    return f"<a:r><a:rPr>{fonts}</a:rPr><a:t>{text}</a:t></a:r>"


def write_body(*paragraphs: str, start: str = "") -> str:
    return f"<p:sp><p:txBody>{start}{''.join(paragraphs)}</p:txBody></p:sp>"


SYMBOL_FONT, LATIN_FONT = '<a:sym typeface="Wingdings"/>', '<a:latin typeface="Symbol"/>'


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        (write_run("Cost ") + write_run("à", SYMBOL_FONT) + write_run(" à la carte", SYMBOL_FONT), "Cost → à la carte"),
        (write_run("a", SYMBOL_FONT) + write_run("m", LATIN_FONT) + write_run("m"), "aμm"),
        (write_run("one_x000B_two_x000D_"), "one\ntwo"),
        (write_run("a_x005F_x0041_b"), "a_x0041_b"),
        ("<a:fld><a:t>a_x000B_b</a:t></a:fld>", "a\nb"),
    ],
)
def test_signs_of_runs(runs: str, text: str) -> None:
    assert read_slide(write_body(f"<a:p>{runs}</a:p>")) == text


def write_item(text: str, form: str = "") -> str:
    return f"<a:p><a:pPr>{form}</a:pPr>{write_run(text)}</a:p>"


def test_another_kind_of_number_begins_again() -> None:
    forms = [
        number("arabicPeriod"),
        number("arabicPeriod"),
        number("alphaLcParenR"),
        number("arabicPeriod", 'startAt="7"'),
    ]
    assert read_slide(write_body(*(write_item("x", form) for form in forms))) == "1. x\n2. x\na) x\n7. x"


@pytest.mark.parametrize(
    ("layout", "own", "text"),
    [
        (number("arabicPeriod"), "", "1. a\n2. b"),
        (
            number("arabicPeriod"),
            f"<a:lstStyle><a:lvl1pPr>{number('romanUcPeriod')}</a:lvl1pPr></a:lstStyle>",
            "I. a\nII. b",
        ),
        (number("arabicPeriod"), "<a:lstStyle><a:lvl1pPr><a:buNone/></a:lvl1pPr></a:lstStyle>", "a\nb"),
        (number("arabicPeriod"), "<a:lstStyle><a:lvl1pPr/></a:lstStyle>", "1. a\n2. b"),
        ("", "", "A. a\nB. b"),
        ("<a:buNone/>", "", "a\nb"),
    ],
)
def test_numbers_of_layouts_and_masters_count(layout: str, own: str, text: str) -> None:
    def hold(root: str, form: str) -> bytes:
        style = f"<a:lstStyle><a:lvl1pPr>{form}</a:lvl1pPr></a:lstStyle>"
        return part(
            root,
            f'<p:sp><p:nvSpPr><p:nvPr><p:ph type="body" idx="3"/></p:nvPr></p:nvSpPr><p:txBody>{style}</p:txBody></p:sp>',
        )

    parts = {
        "ppt/l.xml": hold("p:sldLayout", layout),
        "ppt/_rels/l.xml.rels": relate(("slideMaster", "m.xml")),
        "ppt/m.xml": hold("p:sldMaster", number("alphaUcPeriod")),
    }
    filled = '<p:nvSpPr><p:nvPr><p:ph idx="3"/></p:nvPr></p:nvSpPr>'
    shapes = write_body(write_item("a"), write_item("b"), start=own).replace("<p:sp>", f"<p:sp>{filled}")
    assert read_slide(shapes, parts, ("slideLayout", "../l.xml")) == text
