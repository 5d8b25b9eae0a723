"""DOCX: the text that Word shows, with headers and footers once and comments at the end."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import SIGNATURE, Archive, looks_like_office_file
from pipeline.stages.extract.charset import Decoded, decode
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile, join_sections
from pipeline.stages.extract.formats import mhtml, rtf
from pipeline.stages.extract.formats.html import decode_html, looks_like_html, read_sections
from pipeline.stages.extract.formats.mhtml import looks_like_mhtml
from pipeline.stages.extract.formats.rtf import looks_like_rtf
from pipeline.stages.extract.layout import PARAGRAPH
from pipeline.stages.extract.office.context import Context, Related
from pipeline.stages.extract.office.document import Reader, Section
from pipeline.stages.extract.office.names import find_all, get_attribute, is_on
from pipeline.stages.extract.office.story import Kind, Line, to_blocks
from pipeline.stages.extract.opc import Skipped, find_related, open_package, read_optional, read_relationships
from pipeline.stages.extract.xml import parse

MAIN_TYPES = (
    "vnd.openxmlformats-officedocument.wordprocessingml.document.main",
    "vnd.openxmlformats-officedocument.wordprocessingml.template.main",
    "vnd.ms-word.document.macroenabled.main",
    "vnd.ms-word.template.macroenabledtemplate.main",
)
WEB_PAGES = (".html", ".htm", ".xhtml", ".xht")
TEXTS = (".txt", ".text")
OTHERS = ((looks_like_rtf, rtf.read), (looks_like_mhtml, mhtml.read))
"""Other formats in which parts may be included: how to recognize them, and their readers."""
HEAD_BYTES = 4096
"""Number of bytes by which a format is recognized."""


def looks_like_docx(head: bytes) -> bool:
    """Return True if these are the first bytes of an archive with the parts of a DOCX."""
    return head.startswith(SIGNATURE) and b"word/" in head


def read(file: SourceFile) -> Extraction:
    """Read a DOCX as one page. Each heading begins a section.

    Raises IngestionError if the file is not a DOCX or is not safe to read.
    """
    skipped = Skipped()
    lines = _Document(*open_package(file.content, MAIN_TYPES), skipped, is_included=False).read()
    sections = join_sections(to_blocks(lines))
    return Extraction(1, iter([ExtractedPage(sections, skipped.warnings)]))


@dataclass
class _Document:
    """A Word document: the file itself, or a document that it includes."""

    archive: Archive
    main: str
    skipped: Skipped
    is_included: bool
    _imported: set[str] = field(default_factory=set)

    def read(self) -> list[Line]:
        """Return the lines of headers, body, endnotes, footers and comments, in this order."""
        root = parse(self.archive.read(self.main))
        context = Context(self.archive, self.main, root, self.skipped, self._import)
        reader = Reader(context, context.related)
        body = reader.read(root)
        headers, footers = self._read_margins(context, reader.sections)
        if body and headers:  # A heading stays with the heading before it.
            headers = [Line(line.text, Kind.HEADING) for line in headers]
        return [*headers, *body, *reader.endnotes, *footers, *self._read_comments(context)]

    def _read_margins(self, context: Context, sections: list[Section]) -> tuple[list[Line], list[Line]]:
        """Return the lines of headers and of footers. Lines that several of them have are read once."""
        margins: dict[str, dict[str, Line]] = {"w:headerReference": {}, "w:footerReference": {}}
        has_even = self._has_even_pages(context)
        current: dict[tuple[str, str], str] = {}
        read: set[str] = set()
        for section in sections:
            current |= section.margins
            for (kind, variant), identifier in current.items():
                is_shown = {"first": section.has_first, "even": has_even}.get(variant, True)
                if not is_shown or identifier in read:
                    continue
                read.add(identifier)
                for line in self._read_margin(context, identifier):
                    margins[kind].setdefault(line.text, Line(line.text))
        headers, footers = margins.values()
        return list(headers.values()), list(footers.values())

    def _read_margin(self, context: Context, identifier: str) -> list[Line]:
        part = context.related.get(identifier)
        if part is None:
            self.skipped.note_missing()
            return []
        return self._read_part(context, part.target)

    def _has_even_pages(self, context: Context) -> bool:
        for part in find_related(context.related, "settings"):
            root = read_optional(self.archive, part, self.skipped)
            if root is not None:
                return any(is_on(element) for element in find_all(root, context.names, "w:evenAndOddHeaders"))
        return False

    def _read_part(self, context: Context, part: str) -> list[Line]:
        root = read_optional(self.archive, part, self.skipped)
        return (
            Reader(context, read_relationships(self.archive, part, self.skipped)).read(root) if root is not None else []
        )

    def _read_comments(self, context: Context) -> Iterator[Line]:
        for part in find_related(context.related, "comments"):
            root = read_optional(self.archive, part, self.skipped)
            related: Related = read_relationships(self.archive, part, self.skipped)
            for comment in root if root is not None else ():
                text = " ".join(line.text for line in Reader(context, related).read(comment))
                author = " ".join((get_attribute(comment, "author") or "").split())
                if text:
                    yield Line(f"Comment by {author}: {text}" if author else f"Comment: {text}")

    def _import(self, part: str) -> list[Line]:
        """Return the lines of a part in another format. Each is read once, and those that it includes are not read."""
        if part in self._imported:
            return []
        self._imported.add(part)
        if part not in self.archive:
            self.skipped.note_missing()
            return []
        return self._read_import(part.lower(), self.archive.read(part))

    def _read_import(self, name: str, data: bytes) -> list[Line]:
        if name.endswith(WEB_PAGES) or looks_like_html(data):
            return self._keep(read_sections((page := decode_html(data)).text), page)
        if name.endswith(TEXTS):
            text = decode(data)
            return self._keep(text.text.replace("\r\n", "\n").split(PARAGRAPH), text)
        for recognizes, reader in OTHERS:
            if recognizes(data[:HEAD_BYTES]):
                return self._read_other(reader, data)
        if looks_like_docx(data[:HEAD_BYTES]) and not self.is_included:
            return self._include(data)
        self.skipped.note_object()
        return []

    def _keep(self, texts: list[str], decoded: Decoded) -> list[Line]:
        """Return texts as lines, and keep the warnings about their character set."""
        self.skipped.warnings += decoded.warnings
        return [Line(stripped) for text in texts if (stripped := text.strip())]

    def _read_other(self, reader: Callable[[SourceFile], Extraction], data: bytes) -> list[Line]:
        try:
            pages = list(reader(SourceFile(io.BytesIO(data), is_embedded=True)).pages)
        except IngestionError as error:
            if error.failure is not FailureCode.MALFORMED:
                raise
            self.skipped.note_missing()
            return []
        self.skipped.warnings += [warning for page in pages for warning in page.warnings]
        return [Line(text) for page in pages for section in page.sections if (text := section.strip())]

    def _include(self, data: bytes) -> list[Line]:
        try:
            archive, main = open_package(io.BytesIO(data), MAIN_TYPES)
            return _Document(archive, main, self.skipped, is_included=True).read()
        except IngestionError as error:
            if error.failure is not FailureCode.MALFORMED:
                raise
            self.skipped.note_missing()
            return []


FORMAT = Format(
    media_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    extensions=(".docx", ".docm", ".dotx", ".dotm"),
    aliases=(
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
        "application/vnd.ms-word.document.macroenabled.12",
        "application/vnd.ms-word.template.macroenabled.12",
        "application/zip",
        "application/x-zip-compressed",
    ),
    admits=looks_like_office_file,
    signature=looks_like_docx,
    readers=(read,),
    no_text="The document contains no text. If it is in pictures, run text recognition (OCR) and upload the result.",
)
