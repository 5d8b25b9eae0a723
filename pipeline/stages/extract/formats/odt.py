"""ODT (OpenDocument text): the text that Writer shows, with headers and footers once."""

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import SIGNATURE, Archive
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile, join_sections
from pipeline.stages.extract.office.open_styles import Styles, get_name
from pipeline.stages.extract.office.open_text import OpenReader
from pipeline.stages.extract.office.story import Kind, Line, to_blocks
from pipeline.stages.extract.opc import Skipped, read_optional
from pipeline.stages.extract.xml import Element, parse

MEDIA_TYPE = b"application/vnd.oasis.opendocument.text"
CONTENT, STYLES, MANIFEST = "content.xml", "styles.xml", "META-INF/manifest.xml"
ENCRYPTED = b"encryption-data"
MARGINS = (
    ("style:header", "style:header-left", "style:header-first"),
    ("style:footer", "style:footer-left", "style:footer-first"),
)


def looks_like_odt(head: bytes) -> bool:
    """Return True if these are the first bytes of an archive that says it is an ODT."""
    return looks_like_open_document(head, MEDIA_TYPE)


def looks_like_open_document(head: bytes, media_type: bytes) -> bool:
    """Return True if these are the first bytes of an archive that says it has a media type, or is its template."""
    return (
        head.startswith(SIGNATURE)
        and any(
            b"mimetype" + kind + end in head
            for kind in (media_type, media_type + b"-template")
            for end in (b"PK", b"\0")
        )
    ) or (head.startswith(SIGNATURE) and b"mimetype" + media_type in head)


def open_document(file: SourceFile, skipped: Skipped) -> tuple[Archive, Element, Element | None, Styles]:
    """Open a file of OpenDocument. Return it, its content, its page styles and its styles.

    Raises IngestionError if it is damaged, protected by a password or not safe to read.
    """
    archive = Archive(file.content)
    if MANIFEST in archive and ENCRYPTED in archive.read(MANIFEST):
        message = "The file is protected by a password. Remove the password and upload the file again."
        raise IngestionError(FailureCode.ENCRYPTED, message)
    if CONTENT not in archive:
        message = "The file has no content. Open it, save it again and upload the new copy."
        raise IngestionError(FailureCode.MALFORMED, message)
    content = parse(archive.read(CONTENT))
    pages = read_optional(archive, STYLES, skipped) if STYLES in archive else None
    styles = Styles()
    for root in (pages, content):
        if root is not None:
            styles.add(root)
    return archive, content, pages, styles


def read(file: SourceFile) -> Extraction:
    """Read an ODT as one page. Each heading begins a section.

    Raises IngestionError if it is damaged, protected by a password or not safe to read.
    """
    skipped = Skipped()
    archive, content, pages, styles = open_document(file, skipped)
    reader = OpenReader(archive, styles, skipped)
    body = reader.read(child for element in content if get_name(element) == "office:body" for child in element)
    headers, footers = (_read_margins(pages, kinds, reader) for kinds in MARGINS)
    if body and headers:  # A heading stays with the heading before it.
        headers = [Line(line.text, Kind.HEADING) for line in headers]
    lines = [*headers, *body, *reader.endnotes, *footers, *reader.comments]
    return Extraction(1, iter([ExtractedPage(join_sections(to_blocks(lines)), skipped.warnings)]))


def _read_margins(pages: Element | None, kinds: tuple[str, ...], reader: OpenReader) -> list[Line]:
    """Return the lines of headers or footers, each once."""
    if pages is None:
        return []
    margins = [element for element in pages.iter() if get_name(element) in kinds]
    lines = [line for margin in margins for line in reader.read(margin)]
    return [Line(text) for text in dict.fromkeys(line.text for line in lines)]


FORMAT = Format(
    media_type="application/vnd.oasis.opendocument.text",
    extensions=(".odt", ".ott"),
    aliases=("application/vnd.oasis.opendocument.text-template", "application/zip", "application/x-zip-compressed"),
    admits=lambda head: head.startswith(SIGNATURE),
    signature=looks_like_odt,
    readers=(read,),
)
