"""ODT and ODP are read as LibreOffice shows them, and archives file by file."""

import io
import time
from collections.abc import Mapping

import pytest

from pipeline.errors import IngestionError
from pipeline.stages.extract import get_format
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
}
NAMESPACES = " ".join(f'xmlns:{prefix}="{OASIS}:{kind}:1.0"' for prefix, kind in KINDS.items())
NAMESPACES += ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
TEXT = "application/vnd.oasis.opendocument.text"
SLIDES = "application/vnd.oasis.opendocument.presentation"
ZIP = "application/zip"
STYLES = (
    '<style:style style:name="H" style:family="text"><style:text-properties text:display="none"/></style:style>'
    '<style:style style:name="K" style:family="text" style:parent-style-name="H"/>'
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


def test_headers_and_footers_are_read_once() -> None:
    master = f"<style:master-page><style:header>{write('Head')}</style:header><style:footer>{write('Foot')}</style:footer></style:master-page>"
    assert read(write("Body"), style(master * 2)) == "Head\n\nBody\n\nFoot"


def test_formula_is_one_line() -> None:
    math = "<math xmlns='http://www.w3.org/1998/Math/MathML'><semantics><mrow><msup><mi>a</mi><mn>2</mn></msup><mo>+</mo><mfrac><mi>b</mi><mi>c</mi></mfrac></mrow><annotation>a^2</annotation></semantics></math>"
    body = write('Area <draw:frame><draw:object xlink:href="./Object 1"/><draw:image/></draw:frame> wide')
    assert read(body, {"Object 1/content.xml": math}) == "Area a^2+b/c wide"


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
