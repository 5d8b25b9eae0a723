"""Messages of Outlook (MS-OXMSG), rewritten as mail: headers, body, attachments and messages in them."""

import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import BinaryIO

from olefile import OleFileIO

from pipeline.errors import IngestionError
from pipeline.stages.extract.charset import decode
from pipeline.stages.extract.formats import rtf
from pipeline.stages.extract.mime import Entity

PROPERTIES = "__properties_version1.0"
MESSAGE_HEADER, EMBEDDED_HEADER, OBJECT_HEADER = 32, 24, 8
"""Size of what stands before the properties of a message, of a message in a message, and of an attachment."""
ENTRY = struct.Struct("<HHI8s")
UNICODE, STRING8, BINARY, STORAGE = "001F", "001E", "0102", "000D"
SUBJECT, BODY, HTML, COMPRESSED_RTF = 0x0037, 0x1000, 0x1013, 0x1009
TRANSPORT_HEADERS, CODE_PAGE, HTML_CODE_PAGE = 0x007D, 0x3FFD, 0x3FDE
SENDER_NAME, SENDER_ADDRESS, SENDER_SMTP = 0x0C1A, 0x0C1F, 0x5D01
DISPLAY_TO, DISPLAY_CC, SENT, DELIVERED = 0x0E04, 0x0E03, 0x0039, 0x0E06
FILE_NAME, SHORT_NAME, MEDIA_TYPE, DATA, CONTENT_ID = 0x3707, 0x3704, 0x370E, 0x3701, 0x3712
RECIPIENT_TEXTS = (0x3001, 0x39FE, 0x3003)
"""Name, address of the internet, and address of any kind."""
RECIPIENT_TYPE = 0x0C15
RECIPIENT_HEADERS = {1: "To", 2: "Cc"}
LABELS = {
    437: "ibm437",
    866: "ibm866",
    874: "windows-874",
    932: "shift_jis",
    936: "gbk",
    949: "euc-kr",
    950: "big5",
    20127: "us-ascii",
    20866: "koi8-r",
    21866: "koi8-u",
    50220: "iso-2022-jp",
    51932: "euc-jp",
    51949: "euc-kr",
    54936: "gb18030",
    65001: "utf-8",
    **{number: f"windows-{number}" for number in range(1250, 1259)},
    **{28590 + number: f"iso-8859-{number}" for number in range(1, 16)},
}
"""Labels of code pages."""
FIRST_DAY = datetime(1601, 1, 1, tzinfo=UTC)
MAX_DEPTH = 9
"""Maximum depth of messages in messages. Deeper ones are left out, as `MailReader` does."""
RTF_DICTIONARY = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor "
    rb"MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
"""What compressed RTF refers back to before its own text (MS-OXRTFCP, 2.1.2.1)."""
WINDOW = 4096
COMPRESSED, UNCOMPRESSED = b"LZFu", b"MELA"
RTF_HEADER = struct.Struct("<II4sI")


def convert(file: BinaryIO) -> bytes:
    """Return a message of Outlook as mail of the internet (RFC 5322).

    Raises OSError, IndexError, struct.error or RecursionError if the file is damaged.
    """
    with OleFileIO(file) as container:
        return _Message(container, (), MESSAGE_HEADER, _list_children(container)).build()


def _list_children(container: OleFileIO) -> dict[tuple[str, ...], list[str]]:
    """Return the names in each storage of the file."""
    children: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in container.listdir(streams=True, storages=True):
        children[tuple(path[:-1])].append(path[-1])
    return children


class _Properties:
    """The properties in one storage: of a message, an attachment or a recipient."""

    def __init__(
        self, container: OleFileIO, path: tuple[str, ...], header: int, children: dict[tuple[str, ...], list[str]]
    ) -> None:
        self.container = container
        self.path = path
        self.children = children
        self._names = set(children.get(path, ()))
        data = self._read(PROPERTIES) if PROPERTIES in self._names else b""
        entries = (ENTRY.unpack_from(data, offset) for offset in range(header, len(data) - ENTRY.size + 1, ENTRY.size))
        self._fixed = {identifier: value for _, identifier, _, value in entries}

    def _read(self, name: str) -> bytes:
        with self.container.openstream([*self.path, name]) as stream:
            return bytes(stream.read())

    def find_binary(self, identifier: int) -> bytes | None:
        """Return a property of any length, or None."""
        name = _name(identifier, BINARY)
        return self._read(name) if name in self._names else None

    def find_storage(self, identifier: int) -> tuple[str, ...] | None:
        """Return the path of a property that is a storage itself, or None."""
        name = _name(identifier, STORAGE)
        return (*self.path, name) if name in self._names else None

    def find_number(self, identifier: int) -> int:
        """Return an integer of 32 bits, or 0."""
        value = self._fixed.get(identifier)
        return int.from_bytes(value[:4], "little") if value else 0

    def find_time(self, identifier: int) -> datetime | None:
        """Return a point in time, or None."""
        value = self._fixed.get(identifier)
        ticks = int.from_bytes(value, "little") if value else 0
        with suppress(OverflowError):
            return FIRST_DAY + timedelta(microseconds=ticks // 10) if ticks else None
        return None

    def find_text(self, identifier: int, code_page: int = 0) -> str:
        """Return a text, or an empty string. `code_page` is that of texts that are not in Unicode."""
        if (name := _name(identifier, UNICODE)) in self._names:
            return self._read(name).decode("utf-16-le", "replace").rstrip("\0")
        if (name := _name(identifier, STRING8)) in self._names:
            data = self._read(name).rstrip(b"\0")
            with suppress(IngestionError):
                return decode(data, LABELS.get(code_page)).text
        return ""


class _Message(_Properties):
    """A message. Its attachments may hold further ones."""

    def build(self, depth: int = 0) -> bytes:
        """Return the message as mail, with headers in UTF-8 (RFC 6532)."""
        head = [f"{name}: {text}\n" for name, value in self._list_headers() if (text := " ".join(value.split()))]
        mail = EmailMessage()
        self._add_body(mail)
        for child in self.children.get(self.path, ()):
            if child.lower().startswith("__attach_version1.0"):
                attached = _Properties(self.container, (*self.path, child), OBJECT_HEADER, self.children)
                self._add_attachment(mail, attached, depth)
        return "".join(head).encode("utf-8", "replace") + mail.as_bytes()

    @property
    def _code_page(self) -> int:
        return self.find_number(CODE_PAGE) or self.find_number(HTML_CODE_PAGE)

    def _get(self, *identifiers: int) -> str:
        """Return the first of these texts that is not empty."""
        return next(filter(None, (self.find_text(each, self._code_page) for each in identifiers)), "")

    def _list_headers(self) -> Iterator[tuple[str, str]]:
        """Yield names and values: those with which the message came, or what Outlook knows of a draft."""
        sent = Entity(self.find_text(TRANSPORT_HEADERS, self._code_page).encode() + b"\r\n\r\n")
        moment = self.find_time(SENT) or self.find_time(DELIVERED)
        known = {
            "Subject": self._get(SUBJECT),
            "From": _join_address(self._get(SENDER_NAME), self._get(SENDER_SMTP), self._get(SENDER_ADDRESS)),
            **self._list_recipients(),
            "Date": format_datetime(moment) if moment else "",
        }
        for name, value in known.items():
            yield name, (value if name == "Subject" and value else sent.header(name) or value)

    def _list_recipients(self) -> dict[str, str]:
        found: dict[str, list[str]] = {"To": [], "Cc": []}
        for child in self.children.get(self.path, ()):
            if child.lower().startswith("__recip_version1.0"):
                recipient = _Properties(self.container, (*self.path, child), OBJECT_HEADER, self.children)
                if header := RECIPIENT_HEADERS.get(recipient.find_number(RECIPIENT_TYPE)):
                    texts = (recipient.find_text(each, self._code_page) for each in RECIPIENT_TEXTS)
                    found[header].append(_join_address(*texts))
        return {
            "To": ", ".join(found["To"]) or self._get(DISPLAY_TO),
            "Cc": ", ".join(found["Cc"]) or self._get(DISPLAY_CC),
        }

    def _add_body(self, mail: EmailMessage) -> None:
        text = self.find_text(BODY, self.find_number(HTML_CODE_PAGE) or self._code_page)
        html = self.find_binary(HTML) or self.find_text(HTML).encode()
        if not text.strip() and not html:
            text = _read_rtf(self.find_binary(COMPRESSED_RTF) or b"")
        mail.set_content(text.encode("utf-8", "replace").decode())
        if html:
            # The declaration in the page counts if no code page is known.
            label = LABELS.get(self.find_number(HTML_CODE_PAGE))
            parameters = {"charset": label} if label else {}
            mail.add_alternative(html, maintype="text", subtype="html", params=parameters)

    def _add_attachment(self, mail: EmailMessage, attached: _Properties, depth: int) -> None:
        name = attached.find_text(FILE_NAME, self._code_page) or attached.find_text(SHORT_NAME, self._code_page)
        name = " ".join(name.split())
        data, path = attached.find_binary(DATA), attached.find_storage(DATA)
        if data is None and path and PROPERTIES in self.children.get(path, ()) and depth < MAX_DEPTH:
            inner = _Message(self.container, path, EMBEDDED_HEADER, self.children).build(depth + 1)
            mail.add_attachment(inner, maintype="message", subtype="rfc822", cte="8bit")
            return
        main, _, kind = attached.find_text(MEDIA_TYPE).partition("/")
        is_type = main.isalnum() and kind.replace("-", "").replace(".", "").replace("+", "").isalnum()
        # A reader does not see pictures in the HTML as attachments.
        is_part = main == "image" and bool(attached.find_text(CONTENT_ID))
        mail.add_attachment(
            data or b"",
            maintype=main if is_type and main != "multipart" else "application",
            subtype=kind if is_type and main != "multipart" else "octet-stream",
            disposition="inline" if is_part else "attachment",
            filename=name or None,
        )


def _join_address(name: str, *addresses: str) -> str:
    """Return a name with its address of the internet. Exchange also has addresses of its own."""
    address = next((each for each in addresses if "@" in each), "")
    return f"{name} <{address}>" if name and address and address != name else name or address


def _name(identifier: int, kind: str) -> str:
    return f"__substg1.0_{identifier:04X}{kind}"


def _read_rtf(data: bytes) -> str:
    return "".join(rtf.read_sections(decompress_rtf(data))) if data else ""


def decompress_rtf(data: bytes) -> bytes:
    """Return the RTF of a message (MS-OXRTFCP). Text behind a damage is lost.

    Raises struct.error if the header is cut off, and ValueError if the data is not compressed RTF.
    """
    _, size, kind, _ = RTF_HEADER.unpack_from(data)
    body = data[RTF_HEADER.size :]
    if kind == UNCOMPRESSED:
        return body[:size]
    if kind != COMPRESSED:
        raise ValueError("not compressed RTF")
    window = bytearray(RTF_DICTIONARY.ljust(WINDOW, b"\0"))
    place = len(RTF_DICTIONARY)
    found = bytearray()
    position = 0
    while position < len(body) and len(found) < size:
        control = body[position]
        position += 1
        for bit in range(8):
            if not control >> bit & 1:
                piece = body[position : position + 1]
                position += 1
                start, length = -1, len(piece)
            else:
                piece = body[position : position + 2].ljust(2, b"\0")
                position += 2
                start, length = piece[0] << 4 | piece[1] >> 4, (piece[1] & 15) + 2
                if start == place:
                    return bytes(found)
            for offset in range(length):
                byte = piece[0] if start < 0 else window[(start + offset) % WINDOW]
                window[place] = byte
                place = (place + 1) % WINDOW
                found.append(byte)
    return bytes(found[:size])
