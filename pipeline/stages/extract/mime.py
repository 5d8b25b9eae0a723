"""MIME entities (RFC 2045 to 2047, 2231): headers by the standard library, parts by a search for their boundaries.

The standard library's parser of bodies is not used. It calls itself once per level, and tests each line against the
boundaries of all levels.
"""

import re
from binascii import Error as Base64Error
from collections.abc import Iterator
from email.base64mime import decode as decode_base64
from email.message import Message
from email.parser import HeaderParser
from email.quoprimime import header_decode
from itertools import islice

from pipeline.errors import IngestionError
from pipeline.stages.extract.charset import decode

MAX_HEADER_BYTES = 256 * 1024
"""Longest headers that are read, in bytes."""
LONGEST_PARAMETERS = 8000
MAX_PARAMETERS = 100
"""Longest header with parameters that is read, in characters, and its parameters. Reading takes quadratic time."""
ENCODINGS = frozenset({"base64", "quoted-printable", "x-uuencode", "uuencode", "uue", "x-uue"})
"""Transfer encodings that change the bytes of a body."""
MAX_PARTS = 10_000
"""Maximum number of parts of one multipart entity."""
NEWLINE, RETURN = b"\n\r"
END_OF_HEADERS = re.compile(rb"\r?\n\r?\n|\A\r?\n")
HEADER_LINE = re.compile(rb"([A-Za-z][A-Za-z0-9-]*):|[ \t]|>?From ")
WHITE_SPACE = re.compile(r"\s+")
ENCODED_WORD = re.compile(r"=\?([^?*\s]{1,60})[^?\s]{0,20}\?([bBqQ])\?([^?]{0,2000})\?=")
ENCODED_RUN = re.compile(r"(?:=\?[^?\s]{1,80}\?[bBqQ]\?[^?]{0,2000}\?=)+")
"""Words without space between them. The bytes of a letter may be in two of them."""
FOLDED_WORDS = re.compile(r"(\?=)\s+(=\?)")
CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


class Entity:
    """A MIME entity: headers and a body."""

    def __init__(self, data: bytes | memoryview) -> None:
        """Divide an entity into its headers and its body. Any data is accepted."""
        data = memoryview(data)
        head = bytes(data[: MAX_HEADER_BYTES + 4])
        end = END_OF_HEADERS.search(head)
        head, self._body = (head[: end.start()], data[end.end() :]) if end else (head, data[:0])
        self._message: Message[str, str] = HeaderParser().parsestr(head.decode("latin-1"))
        for name in ("content-type", "content-disposition"):
            if value := self._message.get(name):
                parameters = str(value)[:LONGEST_PARAMETERS].split(";")
                self._message.replace_header(name, ";".join(parameters[:MAX_PARAMETERS]))

    @property
    def media_type(self) -> str:
        """Media type, in lower case. `text/plain` if none is declared."""
        return self._message.get_content_type()

    @property
    def charset(self) -> str | None:
        """Declared character set."""
        value = self.parameter("charset")
        return value or None

    @property
    def is_attachment(self) -> bool:
        """True if the entity says that it is an attachment."""
        return self._message.get_content_disposition() == "attachment"

    @property
    def filename(self) -> str:
        """The declared name of the file, without its folders. Empty if there is none."""
        name = self._read_parameter("filename", "content-disposition") or self.parameter("name")
        return name.replace("\\", "/").rsplit("/", 1)[-1].strip()

    def parameter(self, name: str) -> str:
        """Return a parameter of the media type, decoded. Empty if there is none."""
        return self._read_parameter(name, "content-type")

    def header(self, name: str) -> str:
        """Return the values of a header as one line, decoded. Empty if there is none."""
        return ", ".join(filter(None, (decode_words(str(value)) for value in self._message.get_all(name, []))))

    def decode_body(self) -> bytes:
        """Return the body without its transfer encoding."""
        if not self._is_encoded():
            return bytes(self._body)
        self._message.set_payload(str(self._body, "ascii", "surrogateescape"))
        decoded = self._message.get_payload(decode=True)
        self._message.set_payload("")
        return decoded if isinstance(decoded, bytes) else bytes(self._body)

    def unwrap(self) -> "Entity":
        """Return the entity that is the body of this one. It shares the memory, unless it is encoded."""
        return Entity(self.decode_body() if self._is_encoded() else self._body)

    def parts(self) -> Iterator["Entity"]:
        """Yield the parts of a multipart entity, at most 10,000. An end that is missing is the end of the data."""
        mark = re.escape(str(self._message.get_boundary() or "").encode("latin-1", "replace"))
        boundary = re.compile(rb"--" + mark + rb"(--)?[ \t]*(?:\r?\n|\Z)")  # a search for a literal is quick
        lines = (found for found in boundary.finditer(self._body) if self._is_line_start(found.start()))
        start = None
        for found in islice(lines, MAX_PARTS + 1):
            if start is not None:
                yield Entity(self._body[start : self._find_line_end(found.start())])
            if found[1]:
                return
            start = found.end()
        if start is not None:
            yield Entity(self._body[start:])

    def _is_line_start(self, position: int) -> bool:
        return position == 0 or self._body[position - 1] == NEWLINE

    def _find_line_end(self, position: int) -> int:
        """Return the end of the line before the one that starts at a position."""
        end = max(position - 1, 0)
        return end - 1 if end and self._body[end - 1] == RETURN else end

    def _is_encoded(self) -> bool:
        return str(self._message.get("content-transfer-encoding", "")).strip().lower() in ENCODINGS

    def _read_parameter(self, name: str, header: str) -> str:
        value = self._message.get_param(name, "", header)
        if isinstance(value, tuple):
            charset, _, encoded = value
            return _decode_text(encoded.encode("latin-1", "replace"), charset)
        return decode_words(str(value or ""))


def decode_words(text: str) -> str:
    """Return a header as one line, with its encoded words (RFC 2047) and its bytes beyond ASCII decoded.

    The header is read as Latin-1.
    """
    if not text.isascii():
        text = _decode_text(text.encode("latin-1", "replace"), None)
    text = ENCODED_RUN.sub(_decode_run, FOLDED_WORDS.sub(r"\1\2", text))
    return WHITE_SPACE.sub(" ", CONTROLS.sub(" ", text)).strip()


def _decode_run(run: re.Match[str]) -> str:
    words: list[tuple[str, bytes]] = []
    for charset, encoding, encoded in ENCODED_WORD.findall(run[0]):
        data = _decode_word(encoding, encoded)
        if words and words[-1][0] == charset:
            data = words.pop()[1] + data
        words.append((charset, data))
    return "".join(_decode_text(data, charset) for charset, data in words)


def _decode_word(encoding: str, encoded: str) -> bytes:
    if encoding in "qQ":
        return header_decode(encoded).encode("latin-1", "replace")
    try:
        return decode_base64(encoded + "=" * (-len(encoded) % 4))
    except (Base64Error, ValueError):
        return encoded.encode("ascii", "replace")


def _decode_text(data: bytes, charset: str | None) -> str:
    try:
        return decode(data, charset).text
    except IngestionError:
        return data.decode("latin-1")


def find_header_names(head: bytes) -> set[str]:
    """Return the names of the headers in the first bytes of a mail, in lower case. Empty if these are not headers."""
    names: set[str] = set()
    lines = head.split(b"\n")
    for line in lines[: max(1, len(lines) - 1)]:
        if not line.rstrip(b"\r"):
            break
        found = HEADER_LINE.match(line)
        if found is None:
            return set()
        if found[1]:
            names.add(found[1].decode().lower())
    return names
