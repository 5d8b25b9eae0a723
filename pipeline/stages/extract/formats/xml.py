"""XML: its text, with the names of the elements that hold a single value. No entity is expanded."""

import re
from dataclasses import dataclass, field
from xml.parsers import expat

from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.html import decode_html
from pipeline.stages.extract.formats.text import looks_like_text

DECLARATION = b"<?xml"
HTML_ROOT = re.compile(rb"<(?:!doctype\s+)?html\b", re.IGNORECASE)
MAX_NAME = 60
"""Longest name that is repeated before its value, in characters."""
SHORTEST_NAME = 3
"""Shortest name that helps a reader, in characters. Shorter ones, like `p`, name the parts of a page."""
MAX_DEPTH = 10_000
"""Maximum depth of elements that are read as such."""
MAX_JOINED = 20
"""Maximum number of elements before the first text of a sentence that are part of it."""
MAX_JOINED_CHARACTERS = 1000
"""Longest text of these elements, in characters."""
WORDS = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]+)+|[^\W\d_]{4,}")
"""What an attribute begins with if it has words and not only a key."""


class _NotReadable(Exception):
    """The file declares entities or values of attributes, or is too deep."""


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    text: str
    space: str = ""
    """White space before it, in its paragraph."""

    def show(self) -> str:
        """Return the line, with its name if that helps."""
        is_named = SHORTEST_NAME <= len(self.name) <= MAX_NAME
        return f"{self.name}: {self.text}" if is_named else self.text


@dataclass
class _Block:
    """An element whose end has not been read, and that is not part of a sentence of another one."""

    name: str
    first_line: int
    space: str = ""
    parts: list[str] = field(default_factory=list)
    has_text: bool = False
    has_children: bool = False
    depth: int = 0
    """Number of open elements within its sentence."""


class _Reader:
    """Collects one line for each element with a value, and one for each paragraph with elements in its text."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._stack = [_Block("", 0)]
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._write
        self._parser.EntityDeclHandler = _refuse
        self._parser.AttlistDeclHandler = _refuse

    def read(self, text: str) -> str:
        """Return the text. Raises ExpatError if it is not well-formed, and _NotReadable if it has entities."""
        self._parser.Parse(text.encode("utf-8", "replace"), True)
        return "\n".join(line.show() for line in self._lines).strip()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        block = self._stack[-1]
        if block.has_text:
            block.depth += 1
            return
        if len(self._stack) > MAX_DEPTH:
            raise _NotReadable
        block.has_children = True
        space = " " if block.parts and block.parts[-1][-1:].isspace() else ""
        self._lines += [_Line("", " ".join(value.split()), " ") for value in attributes.values() if WORDS.match(value)]
        self._stack.append(_Block(name.rpartition(":")[2], len(self._lines), space))

    def _write(self, text: str) -> None:
        block = self._stack[-1]
        if not block.has_text and text.strip():
            block.has_text = True
            self._join_lines(block)
        block.parts.append(text)

    def _join_lines(self, block: _Block) -> None:
        """Let the elements before a text be part of its sentence, unless they are long."""
        lines = self._lines[block.first_line : block.first_line + MAX_JOINED + 1]
        if len(lines) <= MAX_JOINED and sum(len(line.text) for line in lines) <= MAX_JOINED_CHARACTERS:
            del self._lines[block.first_line :]
            block.parts = [f"{line.space}{line.text}" for line in lines]

    def _end(self, _name: str) -> None:
        block = self._stack[-1]
        if block.depth:
            block.depth -= 1
            return
        self._stack.pop()
        if text := " ".join("".join(block.parts).split()):
            self._lines.append(_Line("" if block.has_children else block.name, text, block.space))
        elif block.has_children and self._lines and self._lines[-1].text:
            self._lines.append(_Line("", ""))


def _refuse(*_: object) -> None:
    raise _NotReadable


def looks_like_xml(head: bytes) -> bool:
    """Return True if these are the first bytes of an XML file that is not a web page."""
    return head.lstrip(b"\xef\xbb\xbf").startswith(DECLARATION) and not HTML_ROOT.search(head)


def read(file: SourceFile) -> Extraction:
    """Read an XML file as one page of one section. If it is not well-formed or declares entities, its source is read.

    Raises IngestionError if the file is not text.
    """
    decoded = decode_html(file.content.read(), file.charset)
    try:
        text = _Reader().read(decoded.text)
    except (expat.ExpatError, _NotReadable):
        text = decoded.text
    return Extraction(1, iter([ExtractedPage([text], decoded.warnings)]))


FORMAT = Format(
    media_type="application/xml",
    extensions=(".xml",),
    aliases=("text/xml", "text/plain"),
    admits=looks_like_text,
    signature=looks_like_xml,
    readers=(read,),
)
