"""Minimal DOCX, PPTX and EPUB files, and malicious ones."""

import io
import stat
import struct
from collections.abc import Mapping
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from pipeline.stages.extract.archive import LOCAL_HEADER_BYTES

MIB = 1024 * 1024
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
EPUB = "application/epub+zip"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BILLION_LAUGHS = f'<!DOCTYPE x [<!ENTITY l0 "lol">{LAUGHS}]>'
FETCHED = '<!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/passwd">]>'

Parts = dict[str, bytes]


def pack(parts: Mapping[str, bytes], compression: int = ZIP_DEFLATED, level: int = 1) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", compresslevel=level) as archive:
        for name, data in parts.items():
            archive.writestr(name, data, ZIP_STORED if name == "mimetype" else compression)
    return file.getvalue()


def _types(part: str, kind: str) -> bytes:
    return f'<Types xmlns="{TYPES}"><Override PartName="/{part}" ContentType="application/vnd.openxmlformats-officedocument.{kind}.main+xml"/></Types>'.encode()


def relate(*targets: tuple[str, str]) -> bytes:
    """Return relationships to `targets`, pairs of kind and target, with ids from r1."""
    related = "".join(
        f'<Relationship Id="r{number}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{RELATIONSHIPS}">{related}</Relationships>'.encode()


def write_word(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def docx_parts(body: str, before: str = "") -> Parts:
    """Return the parts of a DOCX with this body. `before` precedes the root element."""
    return {
        "[Content_Types].xml": _types("word/document.xml", "wordprocessingml.document"),
        "_rels/.rels": relate(("officeDocument", "word/document.xml")),
        "word/document.xml": f'{before}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'.encode(),
    }


def write_shape(*paragraphs: str, placeholder: str = "") -> str:
    mark = f'<p:nvSpPr><p:nvPr><p:ph type="{placeholder}"/></p:nvPr></p:nvSpPr>' if placeholder else ""
    text = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in paragraphs)
    return f"<p:sp>{mark}<p:txBody>{text}</p:txBody></p:sp>"


def write_slide(shapes: str, root: str = "sld", before: str = "") -> bytes:
    tree = f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>"
    return f'{before}<p:{root} xmlns:p="{SLIDES}" xmlns:a="{DRAWING}">{tree}</p:{root}>'.encode()


def pptx_parts(*slides: bytes, order: list[int] | None = None) -> Parts:
    """Return the parts of a PPTX with these slides. `order` lists the numbers of the shown slides, from 1."""
    numbers = range(1, len(slides) + 1)
    shown = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in order or numbers)
    main = f'<p:presentation xmlns:p="{SLIDES}" xmlns:r="{OFFICE}"><p:sldIdLst>{shown}</p:sldIdLst></p:presentation>'
    return {
        "[Content_Types].xml": _types("ppt/presentation.xml", "presentationml.presentation"),
        "_rels/.rels": relate(("officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": main.encode(),
        "ppt/_rels/presentation.xml.rels": relate(*(("slide", f"slides/slide{n}.xml") for n in numbers)),
        **{f"ppt/slides/slide{n}.xml": slide for n, slide in zip(numbers, slides, strict=True)},
    }


def write_chapter(body: str) -> bytes:
    head = '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml">'
    return f'{head}<head><title/><script src="x"/></head><body>{body}</body></html>'.encode()


def epub_parts(chapters: Mapping[str, bytes], spine: str = "", before: str = "") -> Parts:
    """Return the parts of an EPUB with these chapters by href. Their ids count from `c1`. `before` precedes the OPF."""
    items = "".join(
        f'<item id="c{n}" href="{href}" media-type="application/xhtml+xml"/>'
        for n, href in enumerate(chapters, start=1)
    )
    spine = spine or "".join(f'<itemref idref="c{n}"/>' for n in range(1, len(chapters) + 1))
    opf = f'{before}<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest><spine>{spine}</spine></package>'
    container = "urn:oasis:names:tc:opendocument:xmlns:container"
    return {
        "mimetype": EPUB.encode(),
        "META-INF/container.xml": f'<container xmlns="{container}"><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'.encode(),
        "OEBPS/book.opf": opf.encode(),
        **{f"OEBPS/{href.replace('%20', ' ')}": chapter for href, chapter in chapters.items()},
    }


def inflate_to(parts: Parts, name: str, size: int, level: int = 1) -> bytes:
    """Return an archive in which `size` blanks follow the part `name`."""
    return pack({**parts, name: parts[name] + b" " * size}, level=level)


def lie_about_sizes(parts: Parts, name: str, size: int, claimed: int) -> bytes:
    """Return the same archive, but with a directory that gives the size of the part as `claimed`."""
    whole = len(parts[name]) + size
    return inflate_to(parts, name, size).replace(struct.pack("<L", whole), struct.pack("<L", claimed))


def encrypt(parts: Parts) -> bytes:
    """Return an archive whose directory marks all parts as encrypted."""
    packed = bytearray(pack(parts))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := packed.find(signature, place + 1)) >= 0:
            packed[place + offset] |= 1
    return bytes(packed)


def overlap(parts: Parts) -> bytes:
    """Return an archive whose last part lies inside another one. Both can be read."""
    *others, (name, data) = parts.items()
    with ZipFile(inner := io.BytesIO(), "w") as archive:
        archive.writestr(name, data)
    [entry] = archive.infolist()
    outer = "media.bin"
    with ZipFile(file := io.BytesIO(), "w") as archive:
        for other in others:
            archive.writestr(*other)
        entry.header_offset = archive.start_dir + LOCAL_HEADER_BYTES + len(outer)
        archive.writestr(outer, inner.getvalue())
        archive.filelist.append(entry)
    return file.getvalue()


def repeat_name(parts: Parts, name: str) -> bytes:
    """Return an archive that contains the part twice."""
    other = name[:-1] + "_"
    return pack({**parts, other: parts[name]}).replace(other.encode(), name.encode())


def link(parts: Parts, name: str, target: str) -> bytes:
    """Return an archive in which the part `name` is a symbolic link."""
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
        entry = ZipInfo(name)
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, target)
    return file.getvalue()
