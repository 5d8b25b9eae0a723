"""EPUB: a document of its reading order a page, each read as HTML is."""

import posixpath
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import unquote, urldefrag

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import SIGNATURE, Archive, looks_like_zip, resolve
from pipeline.stages.extract.format import MAX_SECTIONS, Extraction, Format
from pipeline.stages.extract.formats.html import decode_html, expand_empty_elements, read_sections
from pipeline.stages.extract.xml import get_name, parse

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
MEDIA_TYPE = "application/epub+zip"
FIRST_PART = b"mimetype" + MEDIA_TYPE.encode()
FIRST_PART_OFFSET = 30


def looks_like_epub(head: bytes) -> bool:
    """Whether these bytes begin an EPUB: its first part is its media type, and stands there uncompressed."""
    return head.startswith(SIGNATURE) and head.startswith(FIRST_PART, FIRST_PART_OFFSET)


def read(file: BinaryIO) -> Extraction:
    """Read an EPUB, a linear item of its spine a page, each in the sections that its headings begin.

    Raises IngestionError where it is no EPUB, or one that is not safe to read.
    """
    archive = Archive(file)
    if CONTAINER not in archive:
        raise IngestionError(FailureCode.MALFORMED, "The file is an archive, but no EPUB.")
    items = _find_items(archive)
    if _find_encrypted(archive) & set(items):
        message = "The text of the EPUB is encrypted (DRM). Upload it without the protection."
        raise IngestionError(FailureCode.ENCRYPTED, message)
    return Extraction(pages=len(items), texts=_read_items(archive, items))


def _find_items(archive: Archive) -> list[str]:
    """Names of the documents, in reading order."""
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
        raise IngestionError(FailureCode.MALFORMED, "The EPUB has one chapter twice in its reading order.")
    return items


def _resolve(folder: str, href: str) -> str:
    """Name of a part in the archive."""
    return resolve(folder, unquote(urldefrag(href).url))


def _find_encrypted(archive: Archive) -> set[str]:
    """Names of the parts that only a key opens; fonts are commonly among them."""
    if ENCRYPTION not in archive:
        return set()
    entries = parse(archive.read(ENCRYPTION)).iter()
    return {_resolve("", entry.get("URI", "")) for entry in entries if get_name(entry) == "CipherReference"}


def _read_items(archive: Archive, items: list[str]) -> Iterator[list[str]]:
    left = MAX_SECTIONS
    for item in items:
        sections = read_sections(expand_empty_elements(decode_html(archive.read(item))), most=left)
        left -= len(sections) - 1
        yield sections


FORMAT = Format(
    media_type=MEDIA_TYPE,
    extensions=(".epub",),
    aliases=("application/zip", "application/x-zip-compressed"),
    admits=looks_like_zip,
    signature=looks_like_epub,
    readers=(read,),
)
