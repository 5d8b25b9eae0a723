"""Mail, RTF, XML, JSON, OpenDocument, ZIP and PDF files that are deep, endless or larger than they seem."""

import tempfile
import zlib
from collections.abc import Callable
from contextlib import aclosing
from io import BytesIO
from zipfile import ZipFile

import pytest

from pipeline.sandbox.pool import Sandbox
from pipeline.types import WarningCode
from tests.archives import BILLION_LAUGHS, MIB, Parts, encrypt, inflate_to, link, overlap, pack, repeat_name
from tests.compound import Tree, write_compound, write_message
from tests.integration.test_hostile_formats import LIMITS, find_end
from tests.integration.test_hostile_sheets import ODS, TEXT, XLS, XLSX, xlsx_parts
from tests.languages import LANGUAGES
from tests.pdfs import write_fields, write_line, write_pages, write_stream
from tests.samples import SAMPLES, write_open_document, write_xlsb

pytestmark = pytest.mark.anyio

MSG = "application/vnd.ms-outlook"
MAIL, MAILBOX, MHTML, RTF = "message/rfc822", "application/mbox", "multipart/related", "application/rtf"
XML, JSON, PDF, ZIP = "application/xml", "application/json", "application/pdf", "application/zip"
ODT, ODP = (f"application/vnd.oasis.opendocument.{kind}" for kind in ("text", "presentation"))
MANY = 20_000


def write_mail(body: bytes, kind: bytes = b"text/plain", more: bytes = b"") -> bytes:
    return b"From: anna@example.com\nSubject: text\nContent-Type: " + kind + b"\n" + more + b"\n" + body


def write_parts(parts: list[bytes], kind: bytes = b"multipart/mixed") -> bytes:
    body = b"".join(b"--b\n" + part + b"\n" for part in parts)
    return write_mail(body + b"--b--\n", kind + b"; boundary=b")


def nest_mails(depth: int, body: bytes) -> bytes:
    mail = write_mail(body)
    for _ in range(depth):
        mail = write_mail(mail, b"message/rfc822")
    return mail


def nest_parts(depth: int, body: bytes) -> bytes:
    part = b"Content-Type: text/plain\n\n" + body
    for level in range(depth):
        boundary = b"b%d" % level
        head = b"Content-Type: multipart/mixed; boundary=" + boundary
        part = b"\n".join([head, b"", b"--" + boundary, part, b"--" + boundary + b"--"])
    return b"Subject: text\n" + part


def encode_with(encoding: bytes, body: bytes) -> bytes:
    return write_mail(body, more=b"Content-Transfer-Encoding: " + encoding + b"\n")


def nest(begin: str, end: str, inner: str, depth: int = MANY) -> str:
    return begin * depth + inner + end * depth


def write_odt(body: str) -> bytes:
    return write_open_document("text", body)


def write_form(template: str, datasets: str) -> bytes:
    """Return a PDF that asks to be opened in Acrobat, with an XFA form."""
    form = "/NeedsRendering true /AcroForm << /Fields [] /XFA [(template) 8 0 R (datasets) 9 0 R] >>"
    packets = {
        8: write_stream(f"<template>{template}</template>"),
        9: write_stream(f"<datasets>{datasets}</datasets>"),
    }
    return write_pages(
        [write_line("If this message is not eventually replaced, use Acrobat.")], catalog=form, more=packets
    )


def attach(count: int, content: bytes, name: str = "a{}.txt") -> bytes:
    """Return a PDF with one file that is attached several times."""
    packed = write_stream(zlib.compress(content, 1), "/Filter /FlateDecode /Type /EmbeddedFile")
    names = [name.format(number) for number in range(count)]
    tree = " ".join(f"({each}) {2000 + number} 0 R" for number, each in enumerate(names))
    files = {2000 + n: f"<< /Type /Filespec /F ({each}) /EF << /F 8 0 R >> >>" for n, each in enumerate(names)}
    return write_pages(
        [write_line("text")], catalog=f"/Names << /EmbeddedFiles << /Names [{tree}] >> >>", more={8: packed, **files}
    )


VALUES = "".join(f"<f{number}>value {number}</f{number}>" for number in range(5 * MANY))
ATTRIBUTES = '<!DOCTYPE a [<!ATTLIST b c CDATA "' + "some words " * 1000 + '">]>'
SPACES = '<text:s text:c="999999999"/>'
FIELD = "/FT /Tx /T ({}) /V (text) /Rect [72 700 200 720]"


def write_mail_with(name: str) -> bytes:
    """Return a mail with an attachment."""
    return write_parts([b"Content-Disposition: attachment; filename=" + name.encode() + b"\n\ntext"])


def nest_archives(depth: int) -> bytes:
    data = b"deep"
    for _ in range(depth):
        data = pack({"a.txt": b"text", "a.zip": data})
    return data


def write_tree() -> bytes:
    """Return a form of 9 kids on each of 30 levels. All kids of a field are the same."""
    kids = {2000 + level: f"<< /T (a{level}) /Kids [{f'{2001 + level} 0 R ' * 9}] >>" for level in range(30)}
    last = "<< /FT /Tx /T (a) /V (text) /Subtype /Widget /Rect [1 1 2 2] >>"
    form = "/AcroForm << /Fields [2000 0 R] >>"
    return write_pages([write_line("text")], catalog=form, page="/Annots [2030 0 R]", more={**kids, 2030: last})


def nest_messages(depth: int) -> Tree:
    tree = write_message({0x1000: "deep"}, header=24)
    for _ in range(depth):
        attached = write_message({}, header=8, storages={"__substg1.0_3701000D": tree})
        tree = write_message({0x1000: "text"}, header=24, storages={"__attach_version1.0_#00000000": attached})
    return tree


def write_message_with(change: Callable[[bytes], bytes]) -> bytes:
    """Return a message of Outlook with a long text, changed."""
    return change(write_compound(write_message({0x0037: "a", 0x1000: "text " * 100_000})))


def loop(data: bytes) -> bytes:
    """Let each sector of a compound file lead to the first one."""
    first = int.from_bytes(data[76:80], "little")
    return data[: 512 * (first + 1)] + bytes(len(data) - 512 * (first + 1))


FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a message whose sectors are a loop": (MSG, lambda: write_message_with(loop), "text"),
    "a message that is cut off": (MSG, lambda: write_message_with(lambda data: data[: len(data) // 2]), "malformed"),
    "a message with a number of sectors that is a lie": (
        MSG,
        lambda: write_message_with(lambda data: data[:44] + b"\xff\xff\xff\x7f" + data[48:]),
        "text",
    ),
    "a message of which nothing is left": (MSG, lambda: write_message_with(lambda data: data[:512]), "malformed"),
    "200 messages in messages": (MSG, lambda: write_compound(nest_messages(200)), "malformed"),
    "mails in mails": (MAIL, lambda: nest_mails(5000, b"x"), "text"),
    "a large mail in mails": (MAIL, lambda: nest_mails(20, b"text\n" * 4 * MIB), "too_large"),
    "parts in parts": (MAIL, lambda: nest_parts(5000, b"x"), "text"),
    "many lines in deep parts": (MAIL, lambda: nest_parts(20, b"\n--x" * 4 * MIB), "too_large"),
    "100,000 attachments": (
        MAIL,
        lambda: write_parts([b"Content-Disposition: attachment; filename=a.txt\n\ntext"] * 100_000),
        "text",
    ),
    "a mail that is attached to itself": (
        MAIL,
        lambda: write_parts([b"Content-Type: message/rfc822\n\n" + write_parts([b"\n--b\n" * MANY])] * 5),
        "text",
    ),
    "many parameters": (MAIL, lambda: write_mail(b"x", b'text/plain; a="' + b";" * 200_000), "text"),
    "many parts with many parameters": (
        MAIL,
        lambda: write_parts([b'Content-Type: text/plain; a="' + b";" * 5000 + b"\n\ntext"] * 1000),
        "text",
    ),
    "long parameters": (
        MAIL,
        lambda: write_parts([b'Content-Type: text/plain; a="' + b"x" * 250_000 + b";" * 99 + b"\n\ntext"] * 150),
        "text",
    ),
    "a mail of base64": (MAIL, lambda: encode_with(b"base64", b"QUJD" * 8 * MIB), "too_large"),
    "a mail of quoted-printable": (MAIL, lambda: encode_with(b"quoted-printable", b"=41=\n" * 6 * MIB), "too_large"),
    "four million messages": (MAILBOX, lambda: b"From x\nA: b\n\n" * 4 * MIB, "too_many_pages"),
    "many pages in one": (
        MHTML,
        lambda: write_parts([b"Content-Type: text/html\n\n<p>text caf\xe9"] * 100, b"multipart/related"),
        "text",
    ),
    "deep groups": (RTF, lambda: b"{\\rtf1 text" + b"{\\b" * 500_000, "text"),
    "binary data that ends behind the file": (RTF, lambda: b"{\\rtf1 text\\bin9999999999 x}", "text"),
    "binary data of negative size": (RTF, lambda: b"{\\rtf1 text" + b"\\bin-99999 " * 100_000, "text"),
    "notes in notes": (RTF, lambda: b"{\\rtf1 text" + b"{\\footnote x" * MANY + b"}" * MANY, "text"),
    "headers in headers": (RTF, lambda: b"{\\rtf1 text" + b"{\\header x" * MANY + b"}" * MANY, "text"),
    "a billion laughs": (XML, f'<?xml version="1.0"?>{BILLION_LAUGHS}<x>text &l9;</x>'.encode, "&l9;"),
    "attributes by default": (XML, f'<?xml version="1.0"?>{ATTRIBUTES}<a>{"<b/>" * MANY}text</a>'.encode, "<b/>"),
    "deep elements": (XML, lambda: b'<?xml version="1.0"?>' + nest("<a>", "</a>", "text", 500_000).encode(), "<a><a>"),
    "a name of digits": (JSON, lambda: b"{a: 1, text: " + b"1" * 200_000 + b"x}", "malformed"),
    "comments that do not end": (JSON, lambda: b"{a: 1}" + b"/*" * MIB, "malformed"),
    "deep sections": (ODT, lambda: write_odt(nest("<text:section>", "</text:section>", "<text:p>text</text:p>")), "text"),
    "repeated cells": (
        ODT,
        lambda: write_odt(
            '<table:table><table:table-row table:number-rows-repeated="1048576"><table:table-cell '
            'table:number-columns-repeated="16384"><text:p>text</text:p></table:table-cell></table:table-row></table:table>'
        ),
        "text",
    ),
    "spaces": (ODT, lambda: write_odt(f"<text:p>text{SPACES * MANY}</text:p>"), "text"),
    "pages in pages": (
        ODP,
        lambda: write_open_document(
            "presentation",
            nest("<draw:page>", "</draw:page>", "<draw:text-box><text:p>text</text:p></draw:text-box>"),
        ),
        "text",
    ),
    "archives in archives": (ZIP, lambda: nest_archives(100), "text"),
    "mails in an archive, each with a file": (ZIP, lambda: pack({f"{n}.eml": write_mail_with(f"{n}.txt") for n in range(25)}), "text"),
    "50,000 fields of one name": (PDF, lambda: write_fields([FIELD.format("a")] * 50_000), "text"),
    "fields in fields": (PDF, write_tree, "text"),
    "a file that is attached 50 times": (PDF, lambda: attach(50, bytes(200 * MIB)), "text"),
    "a PDF in a PDF": (PDF, lambda: attach(1, attach(1, attach(1, b"deep")), "a{}.pdf"), "text"),
    "deep form": (PDF, lambda: write_form(nest("<field><value>", "</value></field>", "text", 200_000), ""), "text"),
    "long form": (PDF, lambda: write_form("<draw><value>text</value></draw>" * 5 * MANY, VALUES), "text"),
    "a form with entities": (PDF, lambda: write_form(f"{BILLION_LAUGHS}<draw/>", ""), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
async def test_texts(sandbox: Sandbox, name: str) -> None:
    media_type, build, end = FILES[name]
    found = await find_end(sandbox, media_type, build())
    assert end in found
    assert len(found) < 5_000_000


async def test_inflated_sizes_of_documents_in_an_archive_count(sandbox: Sandbox) -> None:
    data = pack({f"{n}.xlsx": inflate_to(xlsx_parts(TEXT), "xl/sheet.xml", 5 * MIB) for n in range(30)})
    found = await find_end(sandbox, ZIP, data)
    assert "24.xlsx" in found
    assert "26.xlsx" not in found


ARCHIVES: dict[str, tuple[Callable[[Parts, str], bytes], str]] = {
    "as it should be": (lambda parts, _: pack(parts), "text"),
    "a part of 16 MiB in 16 kB": (lambda parts, text: inflate_to(parts, text, 16 * MIB, level=9), "too_large"),
    "too many parts": (lambda parts, _: pack({**parts, **{f"{n}.png": b"" for n in range(10_001)}}), "too_large"),
    "parts within parts": (lambda parts, _: overlap(parts), "malformed"),
    "two parts of one name": (repeat_name, "malformed"),
    "encrypted parts": (lambda parts, _: encrypt(parts), "encrypted"),
    "a name above": (lambda parts, _: pack({**parts, "../../../tmp/slip.xml": b"<x/>"}), "malformed"),
    "a link": (lambda parts, _: link(parts, "slip.xml", "/etc/passwd"), "malformed"),
    "cut off": (lambda parts, _: pack(parts)[:-40], "malformed"),
}


def unpack(data: bytes) -> Parts:
    with ZipFile(BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


PACKAGES: dict[str, tuple[Parts, str]] = {
    XLSX: (xlsx_parts(TEXT), "xl/sheet.xml"),
    XLS: (write_xlsb(), "xl/worksheets/sheet1.bin"),
    **{media_type: (unpack(SAMPLES[media_type]), "content.xml") for media_type in (ODS, ODT, ODP)},
    ZIP: ({"b.txt": b"text", "a.txt": b"text"}, "a.txt"),
}


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("media_type", PACKAGES)
async def test_archives_of_other_formats(sandbox: Sandbox, media_type: str, name: str) -> None:
    build, end = ARCHIVES[name]
    found = await find_end(sandbox, media_type, build(*PACKAGES[media_type]))
    assert found == end if end != "text" else end in found


async def test_unreadable_page_is_found_in_the_sandbox(sandbox: Sandbox) -> None:
    """A child may read the frequencies of letters, which are in a package."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    plain = LANGUAGES["English"].text.lower().encode("ascii", "ignore").decode()
    secret = plain.translate(str.maketrans(letters, letters[7:] + letters[:7]))
    lines = "".join(write_line(secret[at : at + 80], y=800 - at / 8) for at in range(0, len(secret), 80))
    with tempfile.TemporaryFile() as file:
        file.write(write_pages([lines, write_line("text")]))
        async with aclosing(sandbox.extract(file, PDF, LIMITS)) as extracted:
            pages = [page async for page in extracted]
    assert [(page.text.strip(), [warning.code for warning in page.warnings]) for page in pages] == [
        ("", [WarningCode.UNREADABLE_TEXT]),
        ("text", []),
    ]
