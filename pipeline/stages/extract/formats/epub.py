"""EPUB: one page per document of the reading order (the spine), each read like HTML."""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote, urldefrag

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import SIGNATURE, Archive, looks_like_zip, resolve
from pipeline.stages.extract.format import MAX_SECTIONS, ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.html import decode_html, expand_empty_elements, read_sections
from pipeline.stages.extract.xml import get_name, parse

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
MEDIA_TYPE = "application/epub+zip"
FIRST_PART = b"mimetype" + MEDIA_TYPE.encode()
FIRST_PART_OFFSET = 30


def looks_like_epub(head: bytes) -> bool:
    """Return True if these are the first bytes of an EPUB: its first part is its media type, uncompressed."""
    return head.startswith(SIGNATURE) and head.startswith(FIRST_PART, FIRST_PART_OFFSET)


def read(file: SourceFile) -> Extraction:
    """Read an EPUB, one page per linear item of its spine. Each heading begins a section.

    Raises IngestionError if the file is not an EPUB, is encrypted, or is not safe to read.
    """
    archive = Archive(file.content)
    if CONTAINER not in archive:
        message = "The file is a ZIP archive, but not an EPUB. Upload it with the right name and type."
        raise IngestionError(FailureCode.MALFORMED, message)
    items = _find_items(archive)
    if _find_encrypted(archive) & set(items):
        message = "The text of the EPUB is encrypted (DRM). Upload a copy without DRM."
        raise IngestionError(FailureCode.ENCRYPTED, message)
    return Extraction(len(items), _read_items(archive, items))


def _find_items(archive: Archive) -> list[str]:
    """Return the names of the documents, in reading order."""
    roots = [
        entry.get("full-path", "") for entry in parse(archive.read(CONTAINER)).iter() if get_name(entry) == "rootfile"
    ]
    package = parse(archive.read(roots[0]))
    folder = posixpath.dirname(roots[0])
    hrefs = {entry.get("id"): entry.get("href", "") for entry in package.iter() if get_name(entry) == "item"}
    items = [
        _resolve(folder, hrefs[entry.get("idref")])
        for entry in package.iter()
        if get_name(entry) == "itemref" and entry.get("linear") != "no"
    ]
    if len(set(items)) < len(items):
        message = "The EPUB lists a chapter twice in its reading order. Remove one of the two and upload the new copy."
        raise IngestionError(FailureCode.MALFORMED, message)
    return items


def _resolve(folder: str, href: str) -> str:
    """Return the name of the part that a link in `folder` refers to."""
    return resolve(folder, unquote(urldefrag(href).url))


def _find_encrypted(archive: Archive) -> set[str]:
    """Return the names of the encrypted parts. Encrypted fonts are common, and do not prevent reading."""
    if ENCRYPTION not in archive:
        return set()
    entries = parse(archive.read(ENCRYPTION)).iter()
    return {_resolve("", entry.get("URI", "")) for entry in entries if get_name(entry) == "CipherReference"}


def _read_items(archive: Archive, items: list[str]) -> Iterator[ExtractedPage]:
    left = MAX_SECTIONS
    for item in items:
        decoded = decode_html(archive.read(item))
        sections = read_sections(expand_empty_elements(decoded.text), max_sections=left)
        left -= len(sections) - 1
        yield ExtractedPage(sections, decoded.warnings)


FORMAT = Format(
    media_type=MEDIA_TYPE,
    extensions=(".epub",),
    aliases=("application/zip", "application/x-zip-compressed"),
    admits=looks_like_zip,
    signature=looks_like_epub,
    readers=(read,),
)
