"""ODT and ODP are read as LibreOffice shows them, and archives file by file."""

import io
import time
from collections.abc import Mapping

import pytest

from pipeline.errors import IngestionError, UnsupportedMedia
from pipeline.stages.extract import get_format
from pipeline.stages.extract.archive import MAX_PART_BYTES
from pipeline.stages.extract.format import ExtractedPage, SourceFile
from pipeline.stages.extract.identify import HEAD_BYTES, identify
from tests.archives import BILLION_LAUGHS, docx_parts, pack, write_word
from tests.languages import LANGUAGES

OASIS = "urn:oasis:names:tc:opendocument:xmlns"
KINDS = {
    "office": "office",
    "text": "text",
    "table": "table",
    "draw": "drawing",
    "style": "style",
    "chart": "chart",
    "svg": "svg-compatible",
    "presentation": "presentation",
    "form": "form",
}
NAMESPACES = " ".join(f'xmlns:{prefix}="{OASIS}:{kind}:1.0"' for prefix, kind in KINDS.items())
NAMESPACES += ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
NAMESPACES += ' xmlns:field="urn:openoffice:names:experimental:ooo-ms-interop:xmlns:field:1.0" xmlns:officeooo="http://openoffice.org/2009/office"'
TEXT = "application/vnd.oasis.opendocument.text"
SLIDES = "application/vnd.oasis.opendocument.presentation"
ZIP = "application/zip"
STYLES = (
    '<style:style style:name="H" style:family="text"><style:text-properties text:display="none"/></style:style>'
    '<style:style style:name="K" style:family="text" style:parent-style-name="H"/>'
    '<style:style style:name="V" style:family="text" style:parent-style-name="H"><style:text-properties text:display="true"/></style:style>'
    '<text:list-style style:name="L"><text:list-level-style-number text:level="1" style:num-format="1" style:num-suffix="."/>'
    '<text:list-level-style-number text:level="2" style:num-format="a" style:num-prefix="(" style:num-suffix=")"/>'
    '</text:list-style><text:list-style style:name="B"><text:list-level-style-bullet text:level="1"/></text:list-style>'
)
OUTLINE = '<text:outline-style><text:outline-level-style text:level="1" style:num-format="1" style:num-suffix="."/></text:outline-style>'


def save(body: str, more: Mapping[str, str] | None = None, kind: str = TEXT, before: str = "") -> bytes:
    inner = "presentation" if kind == SLIDES else "text"
    content = (
        f"{before}<office:document-content {NAMESPACES}><office:automatic-styles>{STYLES}</office:automatic-styles>"
        f"<office:body><office:{inner}>{body}</office:{inner}></office:body></office:document-content>"
    )
    parts = {"mimetype": kind, "content.xml": content, **(more or {})}
    return pack({name: part.encode() for name, part in parts.items()})


def style(body: str) -> dict[str, str]:
    return {"styles.xml": f"<office:document-styles {NAMESPACES}>{body}</office:document-styles>"}


def read_pages(data: bytes, media_type: str = TEXT) -> list[ExtractedPage]:
    extraction = get_format(media_type).readers[0](SourceFile(io.BytesIO(data)))
    pages = list(extraction.pages)
    assert len(pages) == extraction.count
    return pages


def read(body: str, more: Mapping[str, str] | None = None) -> str:
    [page] = read_pages(save(body, more))
    return "".join(page.sections)


def write(*texts: str) -> str:
    return "".join(f"<text:p>{text}</text:p>" for text in texts)


def item(*texts: str) -> str:
    return "".join(f"<text:list-item>{write(text)}</text:list-item>" for text in texts)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (write("One", "Two"), "One\n\nTwo"),
        (write('a<text:s text:c="2"/>b<text:tab/>c<text:line-break/>d'), "a b c\nd"),
        (write('shown<text:span text:style-name="H">secret</text:span><text:span text:style-name="K">too</text:span>!'), "shown!"),
        (write('a<text:span text:style-name="V">b</text:span>c'), "abc"),
        (f'<text:tracked-changes>{write("gone")}</text:tracked-changes>{write("kept")}', "kept"),
        (f'<text:section text:display="none">{write("hidden")}</text:section>{write("shown")}', "shown"),
        (f'<text:list text:style-name="L">{item("A", "B")}</text:list>', "1. A\n2. B"),
        (f'<text:list text:style-name="B">{item("A")}</text:list>', "• A"),
        (
            f'<text:list text:style-name="L"><text:list-item>{write("A", "more")}<text:list>{item("x", "y")}</text:list>'
            f'</text:list-item>{item("B")}</text:list>{write("between")}'
            f'<text:list text:style-name="L" text:continue-numbering="true">{item("C")}</text:list>'
            f'<text:list text:style-name="L">{item("D")}</text:list>',
            "1. A\nmore\n(a) x\n(b) y\n2. B\n\nbetween\n\n3. C\n1. D",
        ),
        (
            f'<text:list xml:id="x" text:style-name="L">{item("A", "B")}</text:list><text:list text:style-name="L">{item("C")}</text:list>'
            f'<text:list text:style-name="L" text:continue-list="x">{item("D")}</text:list>',
            "1. A\n2. B\n1. C\n3. D",
        ),
        (
            "".join(
                f'<text:numbered-paragraph text:list-id="{name}" text:style-name="L" text:level="{level}">{write("A")}</text:numbered-paragraph>'
                for name, level in (("x", 1), ("x", 2), ("y", 1), ("x", 1))
            ),
            "1. A\n(a) A\n1. A\n2. A",
        ),
        (
            write(
                '<field:fieldmark field:type="x.FORMCHECKBOX"><field:param field:name="Checkbox_Checked" field:value="true"/></field:fieldmark> a '
                '<field:fieldmark field:type="x.FORMCHECKBOX"/> b <field:fieldmark field:type="x.FORMDROPDOWN">'
                '<field:param field:name="Dropdown_ListEntry" field:value="c"/><field:param field:name="Dropdown_ListEntry" field:value="d"/>'
                '<field:param field:name="Dropdown_Selected" field:value="1"/></field:fieldmark>'
                '<field:fieldmark field:type="x.FORMDROPDOWN"><field:param field:name="Dropdown_Selected" field:value="9"/></field:fieldmark>'
                '<field:fieldmark field:type="x.FORMTEXT">e</field:fieldmark>'
            ),
            "☒ a ☐ b de",
        ),
        (
            "<office:forms><form:form>"
            '<form:text form:id="1" form:current-value="Ann" form:value="x"/><form:textarea xml:id="2" form:value="Bob"/>'
            '<form:checkbox form:id="3" form:label="yes" form:current-state="checked"/><form:radio form:id="4" form:label="no"/>'
            '<form:listbox form:id="5"><form:option form:label="red"/><form:option form:label="blue" form:current-selected="true"/></form:listbox>'
            '<form:button form:id="6" form:label="Send"/></form:form></office:forms>'
            + write(" ".join(f'<draw:control draw:control="{n}"/>' for n in range(1, 8))),
            "Ann Bob ☒ yes ☐ no blue Send",
        ),
        (write('Text<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body><text:p>Note.</text:p></text:note-body></text:note> on.', "Next."), "Text[1] on.\n\n[1] Note.\n\nNext."),
        (write('A<text:note text:note-class="endnote"><text:note-citation>i</text:note-citation><text:note-body><text:p>Late.</text:p></text:note-body></text:note>', "B"), "A[i]\n\nB\n\n[i] Late."),
        (write("a<draw:frame><draw:text-box><text:p>Boxed</text:p></draw:text-box></draw:frame>b"), "ab\n\nBoxed"),
        (write("<draw:frame><draw:image/><svg:desc>A lock</svg:desc></draw:frame>"), "A lock"),
        (write("<draw:custom-shape><text:p>Shape</text:p></draw:custom-shape>"), "Shape"),
        (write("<text:ruby><text:ruby-base>漢</text:ruby-base><text:ruby-text>かん</text:ruby-text></text:ruby>字"), "漢字"),
        (write("by <text:author-name>Ann</text:author-name>, <text:date>May</text:date>"), "by Ann, May"),
        (write("x<office:annotation><dc:creator>Ann</dc:creator><text:p>Check</text:p></office:annotation>y"), "xy\n\nComment by Ann: Check"),
    ],
)  # fmt: skip
def test_text_is_what_writer_shows(body: str, text: str) -> None:
    assert read(body) == text


def test_table_has_a_line_for_each_row() -> None:
    cell = "<table:table-cell>{}</table:table-cell>"
    spanning = f'<table:table-cell table:number-rows-spanned="2">{write("Both")}</table:table-cell>'
    rows = (
        f"<table:table-header-rows><table:table-row>{cell.format(write('Name'))}{cell.format(write('Price'))}</table:table-row></table:table-header-rows>"
        f"<table:table-row>{spanning}{cell.format(write('1', '2'))}</table:table-row>"
        f"<table:table-row><table:covered-table-cell/>{cell.format(write('3'))}</table:table-row>"
    )
    assert read(f"<table:table>{rows}</table:table>{write('After')}") == "Name Price\nBoth 1 2\nBoth 3\n\nAfter"


def test_headings_have_numbers_and_begin_sections() -> None:
    body = f'<text:h text:outline-level="1">One</text:h>{write("a")}<text:h text:outline-level="1">Two</text:h>{write("b")}'
    [page] = read_pages(save(body, style(OUTLINE)))
    assert page.sections == ["1. One\n\na\n\n", "2. Two\n\nb"]
    again = '<text:h text:outline-level="1" text:restart-numbering="true" text:start-value="7">Seven</text:h>'
    assert read(again, style(OUTLINE)) == "7. Seven"


def test_headers_and_footers_are_read_once() -> None:
    master = f"<style:master-page><style:header>{write('Head')}</style:header><style:footer>{write('Foot')}</style:footer></style:master-page>"
    assert read(write("Body"), style(master * 2)) == "Head\n\nBody\n\nFoot"


def write_master(name: str, more: str = "", shown: str = "true") -> str:
    header = f'<style:header style:display="{shown}">{write(f"Head {name}")}</style:header>'
    return f'<style:master-page style:name="{name}" {more}>{header}</style:master-page>'


@pytest.mark.parametrize(
    ("masters", "text"),
    [
        (write_master("Envelope") + write_master("Standard"), "Head Standard\n\nBody"),
        (write_master("Envelope") + write_master("Used"), "Head Envelope\n\nHead Used\n\nBody"),
        (
            write_master("Standard", 'style:next-style-name="Next"')
            + write_master("Next", 'style:next-style-name="Next"'),
            "Head Standard\n\nHead Next\n\nBody",
        ),
        (write_master("Standard", shown="false"), "Body"),
    ],
)
def test_headers_are_those_of_pages_that_are_used(masters: str, text: str) -> None:
    used = '<style:style style:name="P" style:family="paragraph" style:master-page-name="Used"/>'
    assert read(write("Body"), style(used + masters)) == text


def test_styles_of_headers_do_not_count_in_the_text() -> None:
    hidden = '<style:style style:name="P1" style:family="paragraph"><style:text-properties text:display="none"/></style:style>'
    master = (
        '<style:master-page><style:header><text:p text:style-name="P1">Head</text:p></style:header></style:master-page>'
    )
    pages = style(f"<office:automatic-styles>{hidden}</office:automatic-styles>{master}")
    assert read('<text:p text:style-name="P1">Body</text:p>', pages) == "Body"
    common = style(f"<office:styles>{hidden}</office:styles>")
    assert read(f'<text:p text:style-name="P1">x</text:p>{write("y")}', common) == "y"


MATH = "http://www.w3.org/1998/Math/MathML"


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (
            "<semantics><mrow><msup><mi>a</mi><mn>2</mn></msup><mo>+</mo><mfrac><mi>b</mi><mi>c</mi></mfrac></mrow><annotation>a^2</annotation></semantics>",
            "a^2+b/c",
        ),
        ("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>", "x_i^2"),
        ("<mroot><mrow><mi>x</mi><mi>y</mi></mrow><mn>3</mn></mroot><msqrt><mn>2</mn></msqrt>", "3√(xy)√2"),
        (
            "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi>",
            "∑_(i=1)^n i",
        ),
        (
            "<mfenced><mtable><mtr><mn>1</mn><mn>2</mn></mtr><mtr><mn>3</mn><mn>4</mn></mtr></mtable></mfenced>",
            "(1, 2; 3, 4)",
        ),
        ("<mfenced open='[' close=']' separators=';'><mi>a</mi><mi>b</mi></mfenced><msup><mi>c</mi></msup>", "[a;b]c"),
    ],
)
def test_formula_is_one_line(formula: str, text: str) -> None:
    body = write('Area <draw:frame><draw:object xlink:href="./Object 1"/><draw:image/></draw:frame> wide')
    math = f'<math xmlns="{MATH}">{formula}</math>'
    assert read(body, {"Object 1/content.xml": math}) == f"Area {text} wide"


def flatten(body: str, kind: str) -> bytes:
    inner = "presentation" if kind == SLIDES else "text"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n\n<office:document {NAMESPACES}><office:automatic-styles>{STYLES}</office:automatic-styles>'
        f"<office:master-styles>{write_master('Standard')}</office:master-styles><office:body><office:{inner}>{body}</office:{inner}></office:body></office:document>"
    ).encode()


def test_flat_files_are_read_like_archives() -> None:
    formula = f'<draw:frame><draw:object><math xmlns="{MATH}"><msup><mi>a</mi><mn>2</mn></msup></math></draw:object></draw:frame>'
    data = flatten(write('a<text:span text:style-name="H">no</text:span>') + write(f"is {formula}"), TEXT)
    assert "".join(read_pages(b"\xef\xbb\xbf" + data)[0].sections) == "Head Standard\n\na\n\nis a^2"
    assert identify("a.fodt", "application/vnd.oasis.opendocument.text-flat-xml", data[:HEAD_BYTES]) == TEXT
    slides = flatten(f"<draw:page>{shape('One', 1, 1)}</draw:page>", SLIDES)
    assert read_pages(slides, SLIDES)[0].sections == ["One"]
    assert identify("a.fodp", "", slides[:HEAD_BYTES]) == SLIDES
    [page] = read_pages(flatten(write('x<draw:frame><draw:object xlink:href="./O"/></draw:frame>'), TEXT))
    assert [warning.code for warning in page.warnings] == ["text_not_extracted"]
    with pytest.raises(UnsupportedMedia):
        identify("a.fodt", "", b"<html>")
    with pytest.raises(IngestionError, match="ZIP archive is damaged"):
        read_pages(data.replace(b"?>", b"?>" + BILLION_LAUGHS.encode()))
    with pytest.raises(IngestionError, match="larger than"):
        read_pages(data + b" " * MAX_PART_BYTES)


def test_other_objects_are_named_in_a_warning() -> None:
    [page] = read_pages(save(write('x<draw:frame><draw:object xlink:href="./Object 9"/></draw:frame>')))
    assert [warning.code for warning in page.warnings] == ["text_not_extracted"]


@pytest.mark.parametrize(
    "language", ["English", "German", "Polish", "Russian", "Greek", "Hebrew", "Arabic", "Japanese", "Chinese", "Thai"]
)
def test_every_script_comes_back(language: str) -> None:
    text = " ".join(LANGUAGES[language].text.split())
    assert read(write(text.replace("&", "&amp;"), text[::-1].replace("&", "&amp;"))) == f"{text}\n\n{text[::-1]}"


def shape(text: str, x: int, y: int, more: str = "") -> str:
    return f'<draw:frame svg:x="{x}cm" svg:y="{y}cm" svg:width="5cm" svg:height="2cm" {more}><draw:text-box>{write(text)}</draw:text-box></draw:frame>'


def test_presentation_is_read_a_slide_a_page() -> None:
    title = 'presentation:class="title"'
    first = shape("Below", 1, 9) + shape("Left", 1, 5) + shape("Right", 9, 5) + shape("Title", 1, 20, title)
    number = shape("7", 1, 1, 'presentation:class="page-number"')
    first += f"<presentation:notes>{number}{shape('Notes', 1, 2)}</presentation:notes>"
    second = shape("Click to add", 1, 1, 'presentation:placeholder="true"') + shape("Second", 1, 1)
    pages = read_pages(save(f"<draw:page>{first}</draw:page><draw:page>{second}</draw:page>", kind=SLIDES), SLIDES)
    assert [page.sections for page in pages] == [["Title\n\nLeft\n\nRight\n\nBelow\n\nNotes"], ["Second"]]


@pytest.mark.parametrize(
    ("low", "text"),
    [
        (f"<draw:g>{shape('low', 1, 10)}<draw:g>{shape('lower', 1, 15)}</draw:g></draw:g>", "top\n\nlow\n\nlower"),
        (
            '<draw:custom-shape draw:transform="rotate (-0.52) translate (3.5cm 11.6000000001cm)" svg:width="5cm" svg:height="2cm"><text:p>low</text:p></draw:custom-shape>',
            "top\n\nlow",
        ),
        ('<draw:line svg:x1="9cm" svg:y1="9cm" svg:x2="2cm" svg:y2="8cm"><text:p>low</text:p></draw:line>', "top\n\nlow"),
        ("<draw:g/>", "top"),
        ("<officeooo:annotation><dc:creator>Ann</dc:creator><text:p>Why?</text:p></officeooo:annotation>", "top\n\nComment by Ann: Why?"),
    ],
)  # fmt: skip
def test_shapes_have_the_order_of_their_places(low: str, text: str) -> None:
    [page] = read_pages(save(f"<draw:page>{low}{shape('top', 1, 2)}</draw:page>", kind=SLIDES), SLIDES)
    assert page.sections == [text]


def test_footer_of_slides_is_read_once() -> None:
    footer = '<presentation:footer-decl presentation:name="f">Secret plan</presentation:footer-decl>'
    pages = "".join(f'<draw:page presentation:use-footer-name="f">{shape(text, 1, 1)}</draw:page>' for text in "ab")
    found = read_pages(save(footer + pages, kind=SLIDES), SLIDES)
    assert [page.sections for page in found] == [["a\n\nSecret plan"], ["b"]]


@pytest.mark.parametrize(
    ("name", "declared", "kind"),
    [("a.odt", "", TEXT), ("a", "application/zip", TEXT), ("a.odp", SLIDES, SLIDES), ("a", "", SLIDES)],
)
def test_open_documents_are_identified(name: str, declared: str, kind: str) -> None:
    assert identify(name, declared, save(write("x"), kind=kind)[:HEAD_BYTES]) == kind


def test_unsafe_and_protected_files_are_refused() -> None:
    with pytest.raises(IngestionError, match="DOCTYPE"):
        read_pages(save(write("&l9;"), before=BILLION_LAUGHS))
    with pytest.raises(IngestionError, match="password"):
        read_pages(save("", {"META-INF/manifest.xml": "<manifest:encryption-data/>"}))
    with pytest.raises(IngestionError, match="no content"):
        read_pages(pack({"mimetype": TEXT.encode()}))


@pytest.mark.parametrize(
    "body",
    [
        "<text:section>" * 20_000 + write("x") + "</text:section>" * 20_000,
        "<text:list><text:list-item>" * 10_000 + write("x") + "</text:list-item></text:list>" * 10_000,
        "<table:table><table:table-row><table:table-cell>" * 3000 + write("x") + "</table:table-cell></table:table-row></table:table>" * 3000,
        "<text:p><draw:frame><draw:text-box>" * 5000 + write("x") + "</draw:text-box></draw:frame></text:p>" * 5000,
        write('<text:s text:c="99999999"/>' * 1000 + "x"),
    ],
    ids=["sections", "lists", "tables", "boxes", "spaces"],
)  # fmt: skip
def test_hostile_text_takes_linear_time(body: str) -> None:
    began = time.process_time()
    assert "x" in read(body)
    assert time.process_time() - began < 4


def test_archive_has_a_section_for_each_file() -> None:
    word = pack(docx_parts(write_word("Office words")))
    inner = pack({"deep.txt": b"deep"})
    data = pack(
        {
            "a/": b"",
            "a/one.txt": b"First",
            "b.docx": word,
            "c.exe": b"MZ\0",
            "d.zip": inner,
            "__MACOSX/x.txt": b"no",
            "README": b"Read",
        }
    )
    [page] = read_pages(data, ZIP)
    assert page.sections == ["a/one.txt\n\nFirst\n\n", "b.docx\n\nOffice words\n\n", "README\n\nRead\n\n"]
    named = " ".join(warning.message for warning in page.warnings)
    assert "c.exe" in named
    assert "deep.txt" in named
    assert identify("a.zip", "", data[:HEAD_BYTES]) == ZIP


def test_office_file_named_like_an_archive_is_read_as_what_it_is() -> None:
    assert "".join(read_pages(pack(docx_parts(write_word("Office words"))), ZIP)[0].sections) == "Office words"


def test_bombs_and_slips_are_refused() -> None:
    with pytest.raises(IngestionError, match="compressed far more"):
        read_pages(pack({"a.txt": b"a" * 20_000_000}, level=9), ZIP)
    with pytest.raises(IngestionError, match="leads out"):
        read_pages(pack({"../a.txt": b"a"}), ZIP)
