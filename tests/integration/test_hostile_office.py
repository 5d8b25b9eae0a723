"""Word documents and presentations that are deep, long or circular. Each is read in linear time, or refused."""

from collections.abc import Callable

import pytest

from pipeline.sandbox.pool import Sandbox
from tests.archives import DOCX, PPTX, Parts, pack, pptx_parts, relate, write_shape, write_slide, write_word
from tests.integration.test_hostile_formats import find_end
from tests.word import (
    BEGIN,
    CHART,
    GO_ON,
    NOTE,
    build,
    cell,
    code,
    item,
    level,
    mark,
    numbering,
    paragraph,
    part,
    row,
    run,
    table,
)

pytestmark = pytest.mark.anyio

DEEP = 100_000
MANY = 20_000
TEXT = write_word("text")


def nest(begin: str, end: str, inner: str, depth: int = MANY) -> str:
    return begin * depth + inner + end * depth


def write_styles(*, last: str) -> bytes:
    """Return styles of which each is based on the next one, and the last one on `last`."""
    styles = [f'<w:style w:styleId="s{n}"><w:basedOn w:val="s{n + 1}"/></w:style>' for n in range(MANY)]
    return part("w:styles", "".join(styles) + f'<w:style w:styleId="s{MANY}"><w:basedOn w:val="{last}"/></w:style>')


LOOP_OF_LISTS = {
    "word/numbering.xml": part(
        "w:numbering",
        '<w:abstractNum w:abstractNumId="0"><w:numStyleLink w:val="S"/></w:abstractNum>'
        '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>',
    ),
    "word/styles.xml": part(
        "w:styles", '<w:style w:styleId="S"><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
    ),
}
LISTS = (("numbering", "numbering.xml"), ("styles", "styles.xml"))
LONG_LEVELS = {"word/numbering.xml": numbering(*[level(n, "lowerRoman", "%9" * 50_000) for n in range(9)])}
NOTES_IN_NOTES = "".join(
    NOTE % (n, paragraph(f'{run("note")}<w:r><w:footnoteReference w:id="{n + 1}"/></w:r>')) for n in range(MANY)
)
HEADER = part("w:hdr", paragraph(run("text"), '<w:sectPr><w:headerReference w:type="default" r:id="r1"/></w:sectPr>'))
CHUNK = (("aFChunk", "c.docx"),)


def include(times: int) -> bytes:
    """Return a document that includes a document that includes a document, and so on."""
    data = build(TEXT)
    for _ in range(times):
        data = build(TEXT + '<w:altChunk r:id="r1"/>' * 99, {"word/c.docx": data}, *CHUNK)
    return data


WORDS: dict[str, Callable[[], bytes]] = {
    "content controls": lambda: build(nest("<w:sdt><w:sdtContent>", "</w:sdtContent></w:sdt>", TEXT, DEEP)),
    "deletions": lambda: build(TEXT + nest("<w:del>", "</w:del>", TEXT, DEEP)),
    "alternatives": lambda: build(
        nest("<mc:AlternateContent><mc:Choice>", "</mc:Choice></mc:AlternateContent>", TEXT, DEEP)
    ),
    "boxes with text": lambda: build(
        nest("<w:p><w:r><w:t>text</w:t><w:txbxContent>", "</w:txbxContent></w:r></w:p>", TEXT)
    ),
    "tables with text": lambda: build(
        nest(f"<w:tbl><w:tr><w:tc>{TEXT}", "</w:tc></w:tr></w:tbl>", TEXT)
    ),
    "fractions": lambda: build(
        paragraph(nest("<m:f><m:num>", "</m:num><m:den><m:r><m:t>text</m:t></m:r></m:den></m:f>", run("x")))
    ),
    "fields": lambda: build(paragraph(nest(mark("begin"), mark("separate") + run("text") + mark("end"), "", 5000))),
    "fields without an end": lambda: build(paragraph(mark("begin") * MANY + code("x") * MANY + run("text"))),
    "styles": lambda: build(
        "".join(write_word("text", f"s{n}") for n in range(0, MANY, 10)), {"word/styles.xml": write_styles(last="x")},
        ("styles", "styles.xml"),
    ),
    "a loop of styles": lambda: build(
        write_word("text", "s0"), {"word/styles.xml": write_styles(last="s0")}, ("styles", "styles.xml")
    ),
    "a loop of lists": lambda: build(item("text") * MANY, LOOP_OF_LISTS, *LISTS),
    "long list numbers": lambda: build(item("text", 8) * 5000, LONG_LEVELS, *LISTS[:1]),
    "a merged cell": lambda: build(table(row(cell("text" * 50, BEGIN)), *[row(cell("", GO_ON))] * MANY)),
    "wide cells": lambda: build(table(row(*[cell("text", '<w:gridSpan w:val="1000000"/>' + BEGIN)] * MANY))),
    "header rows": lambda: build(table(*[row(cell("text"), properties="<w:tblHeader/>")] * 5000, *[row(cell("x"))] * 5000)),
    "comments": lambda: build(
        TEXT, {"word/c.xml": part("w:comments", f"<w:comment>{TEXT}</w:comment>" * MANY)}, ("comments", "c.xml")
    ),
    "symbols": lambda: build(paragraph(run("text") + "<w:r>" + '<w:sym w:font="Symbol" w:char="F061"/>' * DEEP + "</w:r>")),
    "notes in notes": lambda: build(
        paragraph(run("text") + '<w:r><w:footnoteReference w:id="0"/></w:r>'),
        {"word/f.xml": part("w:footnotes", NOTES_IN_NOTES)}, ("footnotes", "f.xml"),
    ),
    "a note for each word": lambda: build(
        paragraph((run("text") + '<w:r><w:footnoteReference w:id="0"/></w:r>') * MANY),
        {"word/f.xml": part("w:footnotes", NOTE % (0, TEXT))}, ("footnotes", "f.xml"),
    ),
    "one chart": lambda: build(
        TEXT + paragraph('<w:r><c:chart r:id="r1"/></w:r>') * 2000,
        {"word/c.xml": part("c:chartSpace", CHART)}, ("chart", "c.xml"),
    ),
    "a header in a header": lambda: build(
        '<w:sectPr><w:headerReference w:type="default" r:id="r1"/></w:sectPr>', {"word/h.xml": HEADER,
        "word/_rels/h.xml.rels": relate(("header", "h.xml"))}, ("header", "h.xml"),
    ),
    "documents in documents": lambda: include(20),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
async def test_word(sandbox: Sandbox, name: str) -> None:
    assert "text" in await find_end(sandbox, DOCX, WORDS[name]())


def show(shapes: str, parts: Parts | None = None) -> bytes:
    return pack({**pptx_parts(write_slide(shapes)), **(parts or {})})


PARAGRAPH = "<a:p><a:r><a:t>text</a:t></a:r></a:p>"
SLIDES: dict[str, Callable[[], bytes]] = {
    "groups": lambda: show(nest("<p:grpSp>", "</p:grpSp>", write_shape("text"), DEEP)),
    "tables": lambda: show(
        f"<p:graphicFrame>{nest('<a:tbl><a:tr><a:tc>', '</a:tc></a:tr></a:tbl>', PARAGRAPH, DEEP)}</p:graphicFrame>"
    ),
    "paragraphs": lambda: show(f"<p:sp><p:txBody>{nest('<a:p>', '</a:p>', PARAGRAPH, DEEP)}</p:txBody></p:sp>"),
    "shapes within shapes": lambda: show(
        "".join(
            f'<p:sp><p:spPr><a:xfrm><a:off x="{n}" y="{n}"/><a:ext cx="{MANY - n}" cy="{MANY - n}"/></a:xfrm></p:spPr><p:txBody>{PARAGRAPH}</p:txBody></p:sp>'
            for n in range(5000)
        )
    ),
    "levels of lists": lambda: show(
        f"<p:sp><p:txBody><a:lstStyle>{'<a:x/>' * MANY}</a:lstStyle>{PARAGRAPH * MANY}</p:txBody></p:sp>"
    ),
    "a layout that is its own master": lambda: show(
        write_shape("text", placeholder="body"),
        {
            "ppt/slides/_rels/slide1.xml.rels": relate(("slideLayout", "/l.xml")),
            "l.xml": write_slide(write_shape("Click to edit", placeholder="body")),
            "_rels/l.xml.rels": relate(("slideMaster", "/l.xml")),
        },
    ),
}


@pytest.mark.parametrize("name", SLIDES)
async def test_slides(sandbox: Sandbox, name: str) -> None:
    assert "text" in await find_end(sandbox, PPTX, SLIDES[name]())
