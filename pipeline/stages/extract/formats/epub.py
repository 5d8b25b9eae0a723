"""EPUB: one page per document of the reading order (the spine), each read like HTML."""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote, urldefrag

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import SIGNATURE, Archive, looks_like_zip, resolve
from pipeline.stages.extract.format import MAX_SECTIONS, ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.html import decode_html, read_sections, rewrite_xhtml
from pipeline.stages.extract.xml import get_name, parse
from pipeline.types import PageWarning, WarningCode

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
MEDIA_TYPE = "application/epub+zip"
FIRST_PART = b"mimetype" + MEDIA_TYPE.encode()
FIRST_PART_OFFSET = 30
IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".svgz")
MISSING = "A chapter that the book lists is missing from the file."


def looks_like_epub(head: bytes) -> bool:
    """Return True if these are the first bytes of an EPUB: its first part is its media type, uncompressed."""
    return head.startswith(SIGNATURE) and head.startswith(FIRST_PART, FIRST_PART_OFFSET)


def read(file: SourceFile) -> Extraction:
    """Read an EPUB, one page per item of its spine. Each heading begins a section.

    An item that is missing or an image is a page without text. An item that is listed twice is read once.
    Raises IngestionError if the file is not an EPUB, is encrypted, or is not safe to read.
    """
    archive = Archive(file.content)
    if CONTAINER not in archive:
        message = "The file is a ZIP archive, but not an EPUB. Upload it with the right name and type."
        raise IngestionError(FailureCode.MALFORMED, message)
    items = _find_items(archive)
    if not any(items):
        message = "The chapters that the EPUB lists are missing from it. Export the book again and upload the new copy."
        raise IngestionError(FailureCode.MALFORMED, message)
    if _find_encrypted(archive) & set(items):
        message = "The text of the EPUB is encrypted (DRM). Upload a copy without DRM."
        raise IngestionError(FailureCode.ENCRYPTED, message)
    return Extraction(len(items), _read_items(archive, items))


def _find_items(archive: Archive) -> list[str | None]:
    """Return the names of the documents, in reading order. None stands for one that is missing."""
    package_name = _find_package(archive)
    package = parse(archive.read(package_name), allows_doctype=True)
    folder = posixpath.dirname(package_name)
    hrefs = {entry.get("id"): entry.get("href", "") for entry in package.iter() if get_name(entry) == "item"}
    references = [entry.get("idref") for entry in package.iter() if get_name(entry) == "itemref"]
    names = {name.lower(): name for name in archive.names()}
    # Some programs write names in another case than the archive has.
    found = [names.get(_resolve(folder, hrefs[each]).lower()) if each in hrefs else None for each in references]
    return [name for index, name in enumerate(found) if name is None or name not in found[:index]]


def _find_package(archive: Archive) -> str:
    roots = (entry for entry in parse(archive.read(CONTAINER)).iter() if get_name(entry) == "rootfile")
    return next(roots).get("full-path", "")


def _resolve(folder: str, href: str) -> str:
    """Return the name of the part that a link in `folder` refers to."""
    return resolve(folder, unquote(urldefrag(href).url))


def _find_encrypted(archive: Archive) -> set[str]:
    """Return the names of the encrypted parts. Encrypted fonts are common, and do not prevent reading."""
    if ENCRYPTION not in archive:
        return set()
    entries = parse(archive.read(ENCRYPTION)).iter()
    return {_resolve("", entry.get("URI", "")) for entry in entries if get_name(entry) == "CipherReference"}


def _read_items(archive: Archive, items: list[str | None]) -> Iterator[ExtractedPage]:
    left = MAX_SECTIONS
    for item in items:
        if item is None:
            yield ExtractedPage([""], [PageWarning(WarningCode.PARTS_SKIPPED, MISSING)])
        elif item.lower().endswith(IMAGES):
            yield ExtractedPage([""])
        else:
            decoded = decode_html(archive.read(item))
            sections = read_sections(rewrite_xhtml(decoded.text), max_sections=left)
            left -= len(sections) - 1
            yield ExtractedPage(sections, decoded.warnings)


FORMAT = Format(
    media_type=MEDIA_TYPE,
    extensions=(".epub",),
    aliases=("application/zip", "application/x-zip-compressed"),
    admits=looks_like_zip,
    signature=looks_like_epub,
    readers=(read,),
    no_text="The book contains no text. If its pages are pictures, run text recognition (OCR) and upload the result.",
)
