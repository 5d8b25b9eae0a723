"""The text of a mail: its headers, its body, mails that it forwards, and its attachments."""

import re
from dataclasses import dataclass, field
from itertools import chain

from pipeline.errors import IngestionError
from pipeline.stages.extract.charset import decode
from pipeline.stages.extract.embedded import EmbeddedFiles
from pipeline.stages.extract.format import MAX_SECTIONS, ExtractedPage, limit_sections
from pipeline.stages.extract.formats.html import decode_html, read_sections
from pipeline.stages.extract.layout import PARAGRAPH
from pipeline.stages.extract.mime import Entity
from pipeline.types import PageWarning

MAX_DEPTH = 20
"""Maximum depth of parts in parts. Deeper ones are left out."""
MAX_ENTITIES = 10_000
"""Maximum number of parts of one mail, on all levels together."""
HEADERS = ("Subject", "From", "To", "Cc", "Date")
SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})
"""Types of parts that prove who sent a mail, and have no text."""
ENCRYPTION = frozenset({"application/pgp-encrypted"})
FLOWED = re.compile(r"(?<!\n--)(?<=[^ \n]) \n(?![> \n]|-- $)", re.MULTILINE)
"""The end of a line that goes on in the next one (RFC 3676)."""
FEWEST_WORDS = 0.5
"""Share of the words of the HTML text below which the plain text does not replace it."""


@dataclass
class MailReader:
    """Reads a mail, and collects its warnings."""

    files: EmbeddedFiles
    warnings: list[PageWarning] = field(default_factory=list)
    _entities: int = 0

    def read(self, data: bytes) -> ExtractedPage:
        """Read a mail as one page. Attachments and forwarded mails begin sections."""
        sections = self._read_mail(Entity(data), 0)
        sections = limit_sections([section for section in sections if section.strip()])
        return ExtractedPage(sections or [""], [*self.warnings, *self.files.find_warnings()])

    def _read_mail(self, mail: Entity, depth: int) -> list[str]:
        lines = [f"{name}: {value}" for name in HEADERS if (value := mail.header(name))]
        head = "\n".join(lines) + PARAGRAPH if lines else ""
        sections = self._read_entity(mail, depth)
        return [head + sections[0], *sections[1:]] if sections else [head]

    def _read_entity(self, entity: Entity, depth: int) -> list[str]:
        """Return the sections of a part and of the parts in it."""
        self._entities += 1
        name, kind = entity.filename, entity.media_type
        if kind in SIGNATURES | ENCRYPTION:
            return []
        if depth > MAX_DEPTH or self._entities > MAX_ENTITIES:
            self.files.leave_out(name or kind)
            return []
        if kind.startswith("multipart/") and entity.parameter("boundary"):
            return self._read_parts(entity, depth)
        if kind == "message/rfc822":
            return self._read_mail(entity.unwrap(), depth + 1)
        if kind in {"text/plain", "text/html"} and not entity.is_attachment and not name:
            return self._read_body(entity)
        return self._read_file(entity)

    def _read_parts(self, entity: Entity, depth: int) -> list[str]:
        parts = iter(entity.parts())
        first = next(parts, None)
        if first is None:  # the boundary occurs nowhere
            return self._read_body(entity)
        parts = chain([first], parts)
        if entity.media_type == "multipart/alternative":
            return self._choose([(part.media_type, self._read_entity(part, depth + 1)) for part in parts])
        return [section for part in parts for section in self._read_entity(part, depth + 1)]

    @staticmethod
    def _choose(alternatives: list[tuple[str, list[str]]]) -> list[str]:
        """Return the plain text, or another alternative if the plain text is missing or says much less."""
        shown = [(kind, sections, sum(len(section.split()) for section in sections)) for kind, sections in alternatives]
        plain = next((entry for entry in shown if entry[0] == "text/plain" and entry[2]), None)
        richest = max(
            (entry for entry in shown if entry[0] != "text/calendar"), key=lambda entry: entry[2], default=None
        )
        if plain and richest and plain[2] >= FEWEST_WORDS * richest[2]:
            return plain[1]
        return richest[1] if richest else [section for _, sections, _ in shown for section in sections]

    def _read_body(self, entity: Entity) -> list[str]:
        data = entity.decode_body()
        try:
            decoded = (decode_html if entity.media_type == "text/html" else decode)(data, entity.charset)
        except IngestionError:
            self.files.leave_out(entity.media_type)
            return []
        self.warnings += [warning for warning in decoded.warnings if warning not in self.warnings]
        if entity.media_type == "text/html":
            return _end(read_sections(decoded.text, MAX_SECTIONS))
        text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
        if entity.parameter("format").lower() == "flowed":
            text = FLOWED.sub(" ", text)
        return _end([text])

    def _read_file(self, entity: Entity) -> list[str]:
        kind, data = entity.media_type, entity.decode_body()
        if kind.startswith("image/") and not entity.is_attachment:  # part of the HTML, such as a logo
            return []
        return self.files.read(entity.filename or kind.replace("/", "."), kind, data, entity.charset)


def _end(sections: list[str]) -> list[str]:
    """Let the next section begin a paragraph."""
    return [*sections[:-1], sections[-1].strip("\n").rstrip() + PARAGRAPH] if sections[-1].strip() else sections[:-1]
