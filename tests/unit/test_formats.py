"""Text extraction from DOCX, PPTX, EPUB, CSV and JSON."""

import io
from collections.abc import Callable

import docx
import pptx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import IngestionError
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import MAX_SECTIONS, SourceFile
from tests.archives import (
    DOCX,
    EPUB,
    PPTX,
    docx_parts,
    epub_parts,
    pack,
    pptx_parts,
    relate,
    write_chapter,
    write_shape,
    write_slide,
)


def read(media_type: str, data: bytes) -> list[list[str]]:
    extraction = get_format(media_type).readers[0](SourceFile(io.BytesIO(data)))
    pages = [page.sections for page in extraction.pages]
    assert len(pages) == extraction.count
    return pages


def read_csv(text: str) -> str:
    [[page]] = read("text/csv", text.encode())
    return page


def read_json(text: str) -> str:
    [[page]] = read("application/json", text.encode())
    return page


def refuse(media_type: str, data: bytes) -> str:
    with pytest.raises(IngestionError) as caught:
        read(media_type, data)
    return f"{caught.value.code}: {caught.value.message}"


def save(document: object) -> bytes:
    file = io.BytesIO()
    document.save(file)  # type: ignore[attr-defined]  # python-docx has a function for a class
    return file.getvalue()


def test_docx_is_read_in_the_sections_of_its_headings() -> None:
    """Built on Word's own template, which python-docx contains."""
    document = docx.Document()
    document.add_heading("Lock handbook", 0)
    document.add_heading("Opening hours", 1)
    document.add_paragraph("The lock opens at six.")
    document.add_paragraph("Bring a rope.", style="List Bullet")
    document.add_heading("Fees & fines", 2)
    table = document.add_table(2, 2)
    for index, text in enumerate(["Boat", "Fee", "Barge < 20 m", "12 €"]):
        table.cell(index // 2, index % 2).text = text
    assert read(DOCX, save(document)) == [
        [
            "Lock handbook\n\nOpening hours\n\nThe lock opens at six.\n\n• Bring a rope.\n\n",
            "Fees & fines\n\nBoat Fee\nBarge < 20 m 12 €",
        ]
    ]


def test_docx_image_is_skipped_and_the_text_beside_it_kept() -> None:
    document = docx.Document()
    picture = document.add_paragraph("before").add_run()
    dot = io.BytesIO()
    Image.new("RGB", (1, 1)).save(dot, "PNG")
    picture.add_picture(dot)
    picture.add_text("after")
    assert read(DOCX, save(document)) == [["beforeafter"]]


def test_docx_alternatives_are_read_once() -> None:
    mc = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    alternatives = f'<w:p><mc:AlternateContent xmlns:mc="{mc}"><mc:Choice Requires="wps"><w:r><w:t>x</w:t></w:r></mc:Choice><mc:Fallback><w:r><w:t>x</w:t></w:r></mc:Fallback></mc:AlternateContent></w:p>'
    assert read(DOCX, pack(docx_parts(alternatives))) == [["x"]]


def test_pptx_is_read_a_slide_a_page_with_its_notes() -> None:
    """Built on PowerPoint's own template, which python-pptx contains."""
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "Water levels"
    slide.placeholders[1].text = "3.2 metres closes the lock\n2.9 metres opens it"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "in a group"
    table = slide.shapes.add_table(2, 2, 0, 0, 9, 9).table
    for index, text in enumerate(["Gauge", "Metres", "Footbridge", "3.2"]):
        table.cell(index // 2, index % 2).text = text
    slide.notes_slide.notes_text_frame.text = "Wait for two hours."
    presentation.slides.add_slide(presentation.slide_layouts[6])
    presentation.slides.add_slide(presentation.slide_layouts[5]).shapes.title.text = "The end"
    assert read(PPTX, save(presentation)) == [
        [
            "Water levels\n\nin a group\n\nGauge | Metres\nFootbridge | 3.2\n\n"
            "3.2 metres closes the lock\n2.9 metres opens it\n\nWait for two hours."
        ],
        [""],
        ["The end"],
    ]


def test_pptx_goes_in_the_order_of_the_presentation() -> None:
    slides = [write_slide(write_shape(text)) for text in ("one", "two", "three")]
    assert read(PPTX, pack(pptx_parts(*slides, order=[3, 1]))) == [["three"], ["one"]]
    assert "twice" in refuse(PPTX, pack(pptx_parts(*slides, order=[3, 1, 3])))


def test_pptx_alternatives_are_read_once_and_notes_without_labels() -> None:
    choice, fallback = write_shape("said once"), write_shape("said again")
    slide = write_slide(
        f'<x:AlternateContent xmlns:x="http://schemas.openxmlformats.org/markup-compatibility/2006"><x:Choice>{choice}</x:Choice><x:Fallback>{fallback}</x:Fallback></x:AlternateContent>'
    )
    notes = write_shape("the notes", placeholder="body") + write_shape("a label of the printed page")
    parts = {
        **pptx_parts(slide),
        "ppt/slides/_rels/slide1.xml.rels": relate(("notesSlide", "/notes.xml")),
        "notes.xml": write_slide(notes),
    }
    assert read(PPTX, pack(parts)) == [["said once\n\nthe notes"]]


def test_epub_is_read_a_chapter_a_page() -> None:
    first = write_chapter(
        '<h1>Part&nbsp;1<a id="p1"/></h1><p>one</p><p/><h2/><p>more <b>of</b> it</p><h2>Sub</h2><p>end</p>'
    )
    chapters = {
        "text/a%20b.xhtml": first,
        "c.xhtml": write_chapter("<p>aside</p>"),
        "d.xhtml": write_chapter("<p>two</p>"),
    }
    spine = '<itemref idref="c3"/><itemref idref="c2" linear="no"/><itemref idref="c1" linear="yes"/>'
    pages = read(EPUB, pack(epub_parts(chapters, spine)))
    assert pages == [["two"], ["aside"], ["Part\xa01\n\none\n\nmore of it\n\n", "Sub\n\nend"]]
    assert read(EPUB, pack(epub_parts(chapters, spine + '<itemref idref="c1"/>'))) == pages, "listed twice, read once"


def test_epub_is_read_without_the_chapters_that_cannot_be_read() -> None:
    chapters = {"a.xhtml": write_chapter("<p>one</p>"), "b.xhtml": write_chapter("<p>two <![CDATA[< 3]]></p>")}
    parts = epub_parts(chapters, '<itemref idref="c1"/><itemref idref="gone"/><itemref idref="c2"/>')
    name = next(name for name in parts if name.endswith("b.xhtml"))
    assert read(EPUB, pack(parts)) == [["one"], [""], ["two < 3"]]
    assert read(EPUB, pack({name.upper() if "b.x" in name else name: part for name, part in parts.items()}))[2] == [
        "two < 3"
    ]
    del parts[name]
    extraction = get_format(EPUB).readers[0](SourceFile(io.BytesIO(pack(parts))))
    pages = list(extraction.pages)
    assert [page.sections for page in pages] == [["one"], [""], [""]]
    assert [[warning.code for warning in page.warnings] for page in pages] == [[], ["parts_skipped"], ["parts_skipped"]]


def test_epub_may_have_a_doctype_without_declarations() -> None:
    parts = epub_parts({"a.xhtml": write_chapter("<p>one</p>")})
    package = next(name for name in parts if name.endswith(".opf"))

    def declare(doctype: bytes) -> bytes:
        return pack({**parts, package: doctype + parts[package]})

    assert read(
        EPUB, declare(b'<!DOCTYPE package PUBLIC "+//ISBN 0-9673008-1-9//DTD OEB 1.2 Package//EN" "x.dtd">')
    ) == [["one"]]
    assert "DOCTYPE" in refuse(EPUB, declare(b'<!DOCTYPE package [<!ENTITY a "b">]>'))


def test_epub_by_its_declared_encoding() -> None:
    chapter = '<?xml version="1.0" encoding="iso-8859-5"?><html><body>Привет</body></html>'.encode("iso-8859-5")
    assert read(EPUB, pack(epub_parts({"a.xhtml": chapter}))) == [["Привет"]]


def test_epub_with_protected_text_is_encrypted_and_with_protected_fonts_is_not() -> None:
    parts = epub_parts({"a.xhtml": write_chapter("<p>text</p>")})

    def protect(uri: str) -> bytes:
        reference = f'<encryption><EncryptedData><CipherReference URI="{uri}"/></EncryptedData></encryption>'
        return pack({**parts, "META-INF/encryption.xml": reference.encode()})

    assert read(EPUB, protect("OEBPS/font.otf")) == [["text"]]
    assert refuse(EPUB, protect("OEBPS/a.xhtml")).startswith("encrypted")


def test_epub_has_no_more_sections_than_the_longest_page() -> None:
    headings = write_chapter("<h1>a</h1>b" * (MAX_SECTIONS - 10))
    pages = read(EPUB, pack(epub_parts({"a.xhtml": headings, "b.xhtml": headings, "c.xhtml": headings})))
    assert sum(map(len, pages)) == MAX_SECTIONS + 2
    assert "".join(pages[2]).count("b") == MAX_SECTIONS - 10


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_names_the_columns_in_every_row(delimiter: str) -> None:
    rows = [["name", "note", "price"], ["rope", 'a "long", one; thin\nand | green', "3,50"], ["lamp", "", "9"]]
    lines = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    text = read_csv("\r\n".join(lines))
    assert text == 'name: rope\nnote: a "long", one; thin\nand | green\nprice: 3,50\n\nname: lamp\nprice: 9'


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("1,2\n3,4", "1, 2\n\n3, 4"),
        ("apple\nbanana\n\n", "apple\n\nbanana"),
        ("one,one\ntwo,two", "one, one\n\ntwo, two"),
        ("only,a header", "only, a header"),
        ("A title,,\n1,2,3", "A title\n\n1, 2, 3"),
        (",name\n0,rope\n1", "0\nname: rope\n\n1"),
        ("a,b\n1,2,3\n4", "a: 1\nb: 2\n3\n\na: 4"),
        ('a,b\n"never closed,2\n3,4', 'a: "never closed\nb: 2\n\na: 3\nb: 4'),
        ("", ""),
        ("\n,,\n", ""),
        ("x" * 201 + ",b\n1,2", "x" * 201 + ", b\n\n1, 2"),
    ],
)
def test_csv_of_other_shapes(table: str, text: str) -> None:
    assert read_csv(table) == text


def test_csv_in_other_encodings_and_with_endless_fields() -> None:
    assert read("text/csv", "name,città\nrope,Forlì\n".encode("utf-16")) == [["name: rope\ncittà: Forlì"]]
    field = "word " * 100_000
    assert read_csv(f"a,b\n1,{field}") == f"a: 1\nb: {field.strip()}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('{"a": {"b": 1.10, "c": [1, 2, NaN], "none": null}, "is": true}', "a.b: 1.10\na.c: 1, 2, NaN\nis: true"),
        ('{"t": "T", "l": [{"x": "1\\n\\n2"}, {"x": 1, "x": 2}]}', "t: T\n\nl.x: 1\n\n2\n\nl.x: 1\nl.x: 2"),
        ('{"a": 1}\n{"a": 2}\r\n\n{"a": 3}\n', "a: 1\n\na: 2\n\na: 3"),
        ('"text"', "text"),
        ("[[1, 2], [3]]", "1, 2\n\n3"),
        ('["%s", "s"]' % ("long " * 9), "%s\ns" % ("long " * 9)),
        ('{"%s": {"a": 1, "b": {"c": 2}}}' % ("k" * 201), "%s:\na: 1\nb.c: 2" % ("k" * 201)),
        ("9" * 5000, "9" * 5000),
        ('\ufeff{"a": "\\u00e9\\ud83d\\ude80"}', "a: é🚀"),
        ("[]", ""),
        (" ", ""),
    ],
)
def test_json_has_one_line_per_value_with_its_path(value: str, text: str) -> None:
    assert read_json(value) == text


@pytest.mark.parametrize(
    "value", ["{", '{"a": 1} x', "[1,", "{a b: 1}", "[\n{},\n{}", "[" * 100_000, '{"a":' * 2000 + "1" + "}" * 2000]
)
def test_invalid_json_is_malformed(value: str) -> None:
    assert refuse("application/json", value.encode()).startswith("malformed: The ")


SCALARS = st.text(max_size=60) | st.booleans() | st.none() | st.integers() | st.floats()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner))


@given(VALUES)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_json_strings_are_kept_verbatim(value: object) -> None:
    import json

    text = read_json(json.dumps(value))
    strings = [value]
    while strings:
        match strings.pop():
            case str(string):
                assert string in text
            case list(items):
                strings += items
            case dict(members):
                strings += members.values()


TEXT_OF_XML = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<&>"), max_size=30)


@given(st.lists(TEXT_OF_XML, max_size=5))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_slide_text_is_kept_verbatim(texts: list[str]) -> None:
    [[text]] = read(PPTX, pack(pptx_parts(write_slide("".join(map(write_shape, texts))))))
    assert text == "\n\n".join(text for text in texts if text.strip())


WORDS: dict[str, Callable[[], bytes]] = {
    DOCX: lambda: pack(docx_parts("")),
    PPTX: lambda: pack(pptx_parts()),
    EPUB: lambda: pack(epub_parts({"a.xhtml": write_chapter("<img src='x'/>")})),
    "text/csv": lambda: b"\n\n,,",
    "application/json": lambda: b"{}",
}


@pytest.mark.parametrize("media_type", WORDS)
def test_files_without_text_have_none(media_type: str) -> None:
    assert "".join("".join(page) for page in read(media_type, WORDS[media_type]())) == ""
