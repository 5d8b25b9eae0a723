"""File names of uploads, in all the forms in which clients send them."""

import re
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote_to_bytes

from multipart import parse_content_disposition

EXTENDED = re.compile(r";\s*filename\*\s*=\s*\"?([A-Za-z0-9_.-]*)'[^']*'([^\s;\"]*)", re.IGNORECASE)
"""Parameter with a character set and percent-encoded bytes (RFC 8187)."""
ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[bqBQ]\?[^?]*\?=")
"""Word of a mail header (RFC 2047)."""
PERCENT_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


def find_filename(disposition: str) -> str | None:
    """Return the file name in a `Content-Disposition` header, whose bytes were read as Latin-1, or None.

    The parameter `filename*` (RFC 8187) goes before `filename`, which may be UTF-8, Latin-1, percent-encoded or, as in
    mail, an encoded word (RFC 2047).
    """
    if extended := EXTENDED.search(disposition):
        return _decode(unquote_to_bytes(extended[2]))
    _, _, filename = parse_content_disposition(disposition)
    return None if filename is None else _decode_plain(_decode(filename.encode("latin-1", "replace")))


def _decode_plain(name: str) -> str:
    if ENCODED_WORD.search(name):
        return _decode_words(name)
    if "%" in name and PERCENT_ENCODED.fullmatch(name):
        return _decode(unquote_to_bytes(name))
    return name


def _decode_words(name: str) -> str:
    try:
        parts = decode_header(name)
        return "".join(
            part if isinstance(part, str) else part.decode(label or "ascii", "replace") for part, label in parts
        )
    except (HeaderParseError, LookupError, ValueError):
        return name


def _decode(name: bytes) -> str:
    """Decode a name that is nearly always UTF-8, and otherwise comes from Windows."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp1252", "replace")
