"""A small file of every format, whose text is `text`. Reading them all uses all libraries of the readers."""

import io
import struct
from email.message import EmailMessage

import xlsxwriter
import xlwt

from tests.archives import (
    DOCX,
    EPUB,
    PPTX,
    TYPES,
    Parts,
    docx_parts,
    epub_parts,
    pack,
    pptx_parts,
    relate,
    write_chapter,
    write_shape,
    write_slide,
    write_word,
)
from tests.compound import write_compound, write_message
from tests.pdfs import write_line, write_pages

OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
NAMES = "urn:oasis:names:tc:opendocument:xmlns:"
BODIES = {
    "text": "<text:p>text</text:p>",
    "presentation": "<draw:page><draw:frame><draw:text-box><text:p>text</text:p></draw:text-box></draw:frame></draw:page>",
    "spreadsheet": '<table:table table:name="S"><table:table-row><table:table-cell><text:p>text</text:p></table:table-cell></table:table-row></table:table>',
}
LEGACY_LETTERS = "text in a café, a garçon, a señor, Grüße".encode("cp1252")
"""Their character set has to be detected."""
GARBAGE = "qzx vwk xqj zvb kqw jxz wqv bzk xjq vkz qxw zjb wkx qvz jbq xzw kvj qbx zwq vjk xbz qkw jzv wxq bvk zqj xwb"


def write_open_document(kind: str, body: str) -> bytes:
    """Return a file of OpenDocument: of `text`, `presentation` or `spreadsheet`."""
    spaces = {"office": "office", "text": "text", "table": "table", "draw": "drawing", "style": "style"}
    declared = " ".join(f'xmlns:{prefix}="{NAMES}{name}:1.0"' for prefix, name in spaces.items())
    content = f"<office:document-content {declared}><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    return pack({"mimetype": f"{OPEN_DOCUMENT}{kind}".encode(), "content.xml": content.encode()})


def write_mail() -> bytes:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "anna@example.com", "text"
    mail.set_content("text")
    mail.add_alternative("<p>text", subtype="html")
    mail.add_attachment(b"text", maintype="text", subtype="plain", filename="a.txt")
    return mail.as_bytes()


def write_xlsx() -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        book.add_worksheet().write_row(0, 0, ["text", 1.5])
    return file.getvalue()


def write_xls() -> bytes:
    book = xlwt.Workbook()
    book.add_sheet("S").write(0, 0, "text")
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


SAMPLES: dict[str, bytes] = {
    "application/pdf": write_pages([write_line("text"), write_line(GARBAGE)]),
    "text/plain": LEGACY_LETTERS,
    "text/html": b"<p>text",
    "text/markdown": b"# text",
    "text/csv": b"a,b\ntext,1",
    "application/json": b"{text: 1,}",
    "application/xml": b'<?xml version="1.0"?><a><name>text</name></a>',
    "application/rtf": b"{\\rtf1 text}",
    "message/rfc822": write_mail(),
    "application/vnd.ms-outlook": write_compound(write_message({0x0037: "text", 0x1000: "text"})),
    "application/mbox": b"From a\n" + write_mail(),
    "multipart/related": b"MIME-Version: 1.0\nContent-Type: text/html\n\n<p>text",
    "application/zip": pack({"a.txt": b"text", "a.docx": pack(docx_parts(write_word("text")))}),
    DOCX: pack(docx_parts(write_word("text"))),
    PPTX: pack(pptx_parts(write_slide(write_shape("text")))),
    EPUB: pack(epub_parts({"a.xhtml": write_chapter("text")})),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": write_xlsx(),
    "application/vnd.ms-excel": write_xls(),
    **{f"{OPEN_DOCUMENT}{kind}": write_open_document(kind, body) for kind, body in BODIES.items()},
}
"""By media type."""


def write_xlsb(row: int = 0, column: int = 1) -> Parts:
    """Return the parts of an XLSB (MS-XLSB) with a text in the first cell and a number in another one."""
    types = f'<Types xmlns="{TYPES}"><Default Extension="bin" ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/></Types>'
    sheet = [
        _write_record(148, struct.pack("<4I", 0, row, 0, column)),
        _write_record(145),
        _write_record(0, struct.pack("<I13x", 0)),
        _write_record(6, struct.pack("<2I", 0, 0) + _write_wide("text")),
        _write_record(0, struct.pack("<I13x", row)),
        _write_record(5, struct.pack("<2Id", column, 0, 1.5)),
        _write_record(146),
    ]
    book = [_write_record(143), _write_record(156, struct.pack("<2I", 0, 1) + _write_wide("r1") + _write_wide("S"))]
    return {
        "[Content_Types].xml": types.encode(),
        "_rels/.rels": relate(("officeDocument", "xl/workbook.bin")),
        "xl/workbook.bin": b"".join([_write_record(131), *book, _write_record(144), _write_record(132)]),
        "xl/_rels/workbook.bin.rels": relate(("worksheet", "worksheets/sheet1.bin")),
        "xl/worksheets/sheet1.bin": b"".join([_write_record(129), *sheet, _write_record(130)]),
    }


def _write_record(kind: int, data: bytes = b"") -> bytes:
    """Return a record of fewer than 128 bytes."""
    number = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    return number + bytes([len(data)]) + data


def _write_wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")
