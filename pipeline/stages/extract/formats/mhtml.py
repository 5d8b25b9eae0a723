"""MHTML (RFC 2557): a web page that a browser or Word saved as one file."""

import re

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile, limit_sections
from pipeline.stages.extract.formats.html import decode_html, read_sections
from pipeline.stages.extract.formats.text import looks_like_text
from pipeline.stages.extract.mime import Entity, find_header_names

RELATED = re.compile(rb"^content-type:\s*multipart/related", re.IGNORECASE | re.MULTILINE)
OF_MAILS = frozenset({"to", "cc", "received", "return-path", "delivered-to", "message-id"})
OF_PAGES = frozenset({"snapshot-content-location", "content-location"})
MAX_DEPTH = 3
"""Maximum depth of the page in parts of parts."""


def looks_like_mhtml(head: bytes) -> bool:
    """Return True if these are the first bytes of a web page in one file, and not of a mail."""
    names = find_header_names(head.lstrip(b"\xef\xbb\xbf\r\n"))
    if "mime-version" not in names or names & OF_MAILS:
        return False
    return bool(names & OF_PAGES) or RELATED.search(head) is not None


def read(file: SourceFile) -> Extraction:
    """Read the page. Its title and each heading begin a section. Frames are pages of their own in it.

    Raises IngestionError if there is no page in the file.
    """
    pages = _find_pages(Entity(file.content.read().lstrip(b"\xef\xbb\xbf\r\n")), MAX_DEPTH)
    if not pages:
        message = "There is no web page in the file. Open the page in a browser, save it again and upload the new copy."
        raise IngestionError(FailureCode.MALFORMED, message)
    decoded = [decode_html(page.decode_body(), page.charset) for page in pages]
    sections = [section for page in decoded for section in read_sections(f"{page.text}\n", has_title=True)]
    warnings = [warning for page in decoded for warning in page.warnings]
    return Extraction(1, iter([ExtractedPage(limit_sections(sections), list(dict.fromkeys(warnings)))]))


def _find_pages(entity: Entity, depth: int) -> list[Entity]:
    """Return the first HTML part, or the first one of each of its frames."""
    if entity.media_type in {"text/html", "application/xhtml+xml"}:
        return [entity]
    if not depth or not entity.media_type.startswith("multipart/") or not entity.parameter("boundary"):
        return []
    return [page for part in entity.parts() for page in _find_pages(part, depth - 1)]


FORMAT = Format(
    media_type="multipart/related",
    extensions=(".mht", ".mhtml"),
    aliases=("application/x-mimearchive", "message/rfc822"),
    admits=looks_like_text,
    signature=looks_like_mhtml,
    overrides_text=True,
    readers=(read,),
)
