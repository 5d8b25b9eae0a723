"""Malicious archives, XML, tables and JSON. Each ends with its failure code, soon and in little memory."""

import tempfile
from collections.abc import Callable
from contextlib import aclosing
from zipfile import ZIP_STORED

import pytest

from pipeline.errors import IngestionError
from pipeline.sandbox.pool import Sandbox
from pipeline.sandbox.protocol import Limits
from tests.archives import (
    BILLION_LAUGHS,
    DOCX,
    EPUB,
    FETCHED,
    MIB,
    PPTX,
    Parts,
    docx_parts,
    encrypt,
    epub_parts,
    inflate_to,
    lie_about_sizes,
    link,
    overlap,
    pack,
    pptx_parts,
    relate,
    repeat_name,
    write_chapter,
    write_shape,
    write_slide,
    write_word,
)

pytestmark = pytest.mark.anyio

LIMITS = Limits(seconds=10, memory_bytes=512 * MIB, pages=100, characters=5_000_000)
PACKAGES: dict[str, tuple[str, Parts]] = {
    "docx": (
        DOCX,
        {**docx_parts(write_word("text")), "word/_rels/document.xml.rels": relate(("styles", "styles.xml"))},
    ),
    "pptx": (PPTX, pptx_parts(write_slide(write_shape("text")))),
    "epub": (EPUB, epub_parts({"a.xhtml": write_chapter("text")})),
}
TEXTS = {"docx": "word/document.xml", "pptx": "ppt/slides/slide1.xml", "epub": "OEBPS/a.xhtml"}
XML = {"docx": "word/document.xml", "pptx": "ppt/slides/slide1.xml", "epub": "OEBPS/book.opf"}


async def find_end(sandbox: Sandbox, media_type: str, data: bytes) -> str:
    """Return the text, or the failure code."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        try:
            async with aclosing(sandbox.extract(file, media_type, LIMITS)) as extracted:
                return "".join([page.text async for page in extracted])
        except IngestionError as error:
            return error.code


ARCHIVES: dict[str, tuple[Callable[[Parts, str], bytes], str]] = {
    "as it should be": (lambda parts, _: pack(parts), "text"),
    "a part of 64 MiB": (lambda parts, text: inflate_to(parts, text, 64 * MIB), "too_large"),
    "a part of 16 MiB in 16 kB": (lambda parts, text: inflate_to(parts, text, 16 * MIB, level=9), "too_large"),
    "a part that lies about its size": (lambda parts, text: lie_about_sizes(parts, text, 300 * MIB, 999), "malformed"),
    "too many parts": (lambda parts, _: pack({**parts, **{f"{n}.png": b"" for n in range(10_001)}}), "too_large"),
    "parts within parts": (lambda parts, _: overlap(parts), "malformed"),
    "two parts of one name": (repeat_name, "malformed"),
    "encrypted parts": (lambda parts, _: encrypt(parts), "encrypted"),
    "a name above": (lambda parts, _: pack({**parts, "../../../tmp/slip.xml": b"<x/>"}), "malformed"),
    "a name from the root": (lambda parts, _: pack({**parts, "/tmp/slip.xml": b"<x/>"}), "malformed"),
    "a name of Windows": (lambda parts, _: pack({**parts, "..\\..\\slip.xml": b"<x/>"}), "malformed"),
    "a link": (lambda parts, _: link(parts, "slip.xml", "/etc/passwd"), "malformed"),
    "cut off": (lambda parts, _: pack(parts)[:-40], "malformed"),
    "damaged": (lambda parts, _: pack(parts, ZIP_STORED).replace(b"text<", b"taxt<"), "malformed"),
    "another archive": (lambda _parts, _: pack({"a.txt": b"text"}), "malformed"),
    "the text is missing": (lambda parts, text: pack({n: p for n, p in parts.items() if n != text}), "malformed"),
    "no archive": (lambda _parts, _: b"PK\x03\x04" + b"text" * 1000, "malformed"),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    # Slow cases run for one format only: the same module opens all archives.
    [(kind, name) for name in ARCHIVES for kind in PACKAGES if kind == "docx" or "lies" not in name],
)
async def test_archives(sandbox: Sandbox, kind: str, name: str) -> None:
    media_type, parts = PACKAGES[kind]
    build, end = ARCHIVES[name]
    assert await find_end(sandbox, media_type, build(parts, TEXTS[kind])) == end


def declare(xml: bytes, doctype: str, entity: str) -> bytes:
    """Return XML with a document type, and with a reference to an entity after its first tag."""
    return doctype.encode() + xml.replace(b">", f">&{entity};".encode(), 1)


XMLS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a billion laughs": (lambda xml: declare(xml, BILLION_LAUGHS, "l9"), "malformed"),
    "a billion laughs in UTF-16": (
        lambda xml: declare(xml, BILLION_LAUGHS, "l9").decode().encode("utf-16"),
        "malformed",
    ),
    "a file to be fetched": (lambda xml: declare(xml, FETCHED, "file"), "malformed"),
    "a document type alone": (lambda xml: b"<!DOCTYPE x []>" + xml, "malformed"),
    "an entity that nobody declared": (lambda xml: declare(xml, "", "l9"), "malformed"),
    "another text behind it": (lambda xml: xml + xml, "malformed"),
    "not closed": (lambda xml: xml[:-5], "malformed"),
}


@pytest.mark.parametrize("kind", PACKAGES)
@pytest.mark.parametrize("name", XMLS)
async def test_xml(sandbox: Sandbox, kind: str, name: str) -> None:
    media_type, parts = PACKAGES[kind]
    build, end = XMLS[name]
    part = XML[kind]
    assert await find_end(sandbox, media_type, pack({**parts, part: build(parts[part])})) == end


@pytest.mark.parametrize(
    ("kind", "part"),
    [("docx", "_rels/.rels"), ("docx", "word/styles.xml"), ("pptx", "_rels/.rels"), ("epub", "META-INF/container.xml")],
)
async def test_xml_beside_the_text(sandbox: Sandbox, kind: str, part: str) -> None:
    media_type, parts = PACKAGES[kind]
    bomb = declare(parts.get(part, b"<x></x>"), BILLION_LAUGHS, "l9")
    assert await find_end(sandbox, media_type, pack({**parts, part: bomb})) == "malformed"


async def test_entities_in_chapters_are_not_expanded(sandbox: Sandbox) -> None:
    for doctype, entity in ((BILLION_LAUGHS, "l9"), (FETCHED, "file")):
        chapter = declare(b"<html><body>text</body></html>", doctype, entity)
        text = await find_end(sandbox, EPUB, pack(epub_parts({"a.xhtml": chapter})))
        assert f"&{entity};text" in text
        assert "root:" not in text
        assert len(text) < 1000


OUTSIDE = "../../../../../../etc/passwd"
SHARED = pptx_parts(*[write_slide(write_shape("text"))] * 60)
FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "slide outside": (
        PPTX,
        lambda: pack({**PACKAGES["pptx"][1], "ppt/_rels/presentation.xml.rels": relate(("slide", OUTSIDE))}),
        "malformed",
    ),
    "chapter outside": (
        EPUB,
        lambda: pack({**epub_parts({OUTSIDE: b""}, spine=""), f"OEBPS/{OUTSIDE}": b""}),
        "malformed",
    ),
    "chapter nowhere": (
        EPUB,
        lambda: pack({n: part for n, part in epub_parts({OUTSIDE: b""}).items() if OUTSIDE not in n}),
        "malformed",
    ),
    "notes that all slides share": (
        PPTX,
        lambda: pack(
            {
                **SHARED,
                **{f"ppt/slides/_rels/slide{n}.xml.rels": relate(("notesSlide", "/n.xml")) for n in range(1, 61)},
                "n.xml": write_slide("", before="<!--" + "x" * 4 * MIB + "-->") + b" " * MIB,
            }
        ),
        "too_large",
    ),
    "deep document": (DOCX, lambda: pack(docx_parts("<w:p>" * 50_000 + "</w:p>" * 50_000)), ""),
    "deep slide": (
        PPTX,
        lambda: pack(pptx_parts(write_slide("<p:grpSp>" * 50_000 + write_shape("text") + "</p:grpSp>" * 50_000))),
        "text",
    ),
    "deep table": (
        PPTX,
        lambda: pack(
            pptx_parts(write_slide("<p:sp>" + "<a:tr><a:tc>" * 50_000 + "</a:tc></a:tr>" * 50_000 + "</p:sp>"))
        ),
        "",
    ),
    "too many slides": (PPTX, lambda: pack(pptx_parts(*[write_slide("")] * 101)), "too_many_pages"),
    "old document with a password": (
        DOCX,
        lambda: b"\xd0\xcf\x11\xe0" + b"\0" * 999 + "EncryptedPackage".encode("utf-16-le"),
        "encrypted",
    ),
    "old document": (PPTX, lambda: b"\xd0\xcf\x11\xe0" + b"\0" * 999, "malformed"),
    "deep.json": ("application/json", lambda: b"[" * 10 * MIB, "malformed"),
    "deep objects.json": ("application/json", lambda: b'{"a":' * MIB, "malformed"),
    "a long name for many.json": (
        "application/json",
        lambda: b'{"%s": [%s1]}' % (b"n" * 190, b"[1]," * 100_000),
        "too_large",
    ),
    "a value of 20 MB.json": ("application/json", lambda: b'"%s"' % (b"x" * 20 * MIB), "too_large"),
    "a cell of 20 MB.csv": ("text/csv", lambda: b'a,b\n1,"' + b"x" * 20 * MIB, "too_large"),
    "quotes.csv": ("text/csv", lambda: b'"' * 5 * MIB + b"a," * MIB, "too_large"),
}


@pytest.mark.parametrize("name", FILES)
async def test_files(sandbox: Sandbox, name: str) -> None:
    media_type, build, end = FILES[name]
    assert await find_end(sandbox, media_type, build()) == end
