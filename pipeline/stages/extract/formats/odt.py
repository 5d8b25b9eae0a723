"""ODT (OpenDocument text): the text that Writer shows, with headers and footers once."""

import re
from codecs import BOM_UTF8
from dataclasses import dataclass

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import MAX_PART_BYTES, SIGNATURE, Archive
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile, join_sections
from pipeline.stages.extract.office.open_styles import Styles, get_attributes, get_name
from pipeline.stages.extract.office.open_text import OpenReader
from pipeline.stages.extract.office.story import Kind, Line, to_blocks
from pipeline.stages.extract.opc import Skipped, read_optional
from pipeline.stages.extract.xml import Element, parse

MEDIA_TYPE = b"application/vnd.oasis.opendocument.text"
FLAT = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<office:document\s", re.DOTALL)
"""The begin of a file in one part, after a byte order mark."""
MASTER, FIRST_MASTER = "style:master-page-name", "Standard"
CONTENT, STYLES, MANIFEST = "content.xml", "styles.xml", "META-INF/manifest.xml"
ENCRYPTED = b"encryption-data"
HEAD_BYTES = 4096
"""Number of bytes by which a flat file is recognized."""
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


def looks_like_flat(head: bytes) -> bool:
    """Return True if these are the first bytes of a flat OpenDocument file, which is not an archive."""
    return FLAT.match(head.removeprefix(BOM_UTF8)) is not None


def admits(head: bytes) -> bool:
    """Return True if these can be the first bytes of an OpenDocument file."""
    return head.startswith(SIGNATURE) or looks_like_flat(head)


@dataclass(frozen=True, slots=True)
class Package:
    """An opened file of OpenDocument."""

    archive: Archive | None
    """None for a flat file."""
    content: Element
    pages: Element | None
    """The part with the styles of pages."""

    def collect_styles(self, *, for_pages: bool) -> Styles:
        """Return the styles for the content, or those for headers and footers. They may have the same names."""
        styles = Styles()
        for part in (self.pages,) if for_pages else (self.pages, self.content):
            for child in part if part is not None else ():
                if part is self.content or for_pages or get_name(child) != "office:automatic-styles":
                    styles.add(child)
        return styles


def open_document(file: SourceFile, skipped: Skipped) -> Package:
    """Open a file of OpenDocument.

    Raises IngestionError if it is damaged, protected by a password or not safe to read.
    """
    head = file.content.read(HEAD_BYTES)
    file.content.seek(0)
    if looks_like_flat(head):
        return _open_flat(file)
    archive = Archive(file.content)
    if MANIFEST in archive and ENCRYPTED in archive.read(MANIFEST):
        message = "The file is protected by a password. Remove the password and upload the file again."
        raise IngestionError(FailureCode.ENCRYPTED, message)
    if CONTENT not in archive:
        message = "The file has no content. Open it, save it again and upload the new copy."
        raise IngestionError(FailureCode.MALFORMED, message)
    content = parse(archive.read(CONTENT))
    pages = read_optional(archive, STYLES, skipped) if STYLES in archive else None
    return Package(archive, content, pages)


def _open_flat(file: SourceFile) -> Package:
    data = file.content.read(MAX_PART_BYTES + 1)
    if len(data) > MAX_PART_BYTES:
        message = f"The file is larger than {MAX_PART_BYTES // 2**20} MiB. Save it as .odt or .odp and upload it."
        raise IngestionError(FailureCode.TOO_LARGE, message)
    root = parse(data)
    return Package(None, root, root)


def read(file: SourceFile) -> Extraction:
    """Read an ODT as one page. Each heading begins a section.

    Raises IngestionError if it is damaged, protected by a password or not safe to read.
    """
    skipped = Skipped()
    package = open_document(file, skipped)
    reader = OpenReader(package.archive, package.collect_styles(for_pages=False), skipped)
    body = reader.read(child for element in package.content if get_name(element) == "office:body" for child in element)
    page_reader = OpenReader(package.archive, package.collect_styles(for_pages=True), skipped)
    masters = _find_masters(package)
    headers, footers = (_read_margins(masters, kinds, page_reader) for kinds in MARGINS)
    if body and headers:  # A heading stays with the heading before it.
        headers = [Line(line.text, Kind.HEADING) for line in headers]
    lines = [*headers, *body, *reader.endnotes, *footers, *reader.comments]
    return Extraction(1, iter([ExtractedPage(join_sections(to_blocks(lines)), skipped.warnings)]))


def _find_masters(package: Package) -> list[Element]:
    """Return the master pages that the document uses. Files have others, such as one for envelopes."""
    roots = (package.pages, package.content) if package.pages is not None else (package.content,)
    masters: dict[str, Element] = {}
    used = {FIRST_MASTER}
    for root in dict.fromkeys(roots):
        for element in root.iter():
            match get_name(element):
                case "style:style":
                    used.add(get_attributes(element).get(MASTER, ""))
                case "style:master-page":
                    masters[get_attributes(element).get("style:name", "")] = element
    if FIRST_MASTER not in masters:
        used |= set(list(masters)[:1])
    stack = [name for name in masters if name in used]
    while stack:
        following = get_attributes(masters[stack.pop()]).get("style:next-style-name", "")
        if following in masters and following not in used:
            used.add(following)
            stack.append(following)
    return [master for name, master in masters.items() if name in used]


def _read_margins(masters: list[Element], kinds: tuple[str, ...], reader: OpenReader) -> list[Line]:
    """Return the lines of headers or footers, each once."""
    margins = [element for master in masters for element in master if get_name(element) in kinds]
    shown = [margin for margin in margins if get_attributes(margin).get("style:display") != "false"]
    lines = [line for margin in shown for line in reader.read(margin)]
    return [Line(text) for text in dict.fromkeys(line.text for line in lines)]


FORMAT = Format(
    media_type="application/vnd.oasis.opendocument.text",
    extensions=(".odt", ".ott", ".fodt"),
    aliases=(
        "application/vnd.oasis.opendocument.text-template",
        "application/vnd.oasis.opendocument.text-flat-xml",
        "application/zip",
        "application/x-zip-compressed",
    ),
    admits=admits,
    signature=looks_like_odt,
    readers=(read,),
)
