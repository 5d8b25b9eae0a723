"""Plain text in any encoding."""

import codecs
import re

from pipeline.errors import IngestionError
from pipeline.stages.extract.blobs import leave_out_blobs
from pipeline.stages.extract.charset import Decoded, begins_in_utf16, decode
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.normalize import remove_control_sequences

UNICODE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BINARY_SIGNATURES = (
    b"%PDF-",
    b"PK\x03\x04",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"\x1f\x8b",
    b"\x7fELF",
    b"\xd0\xcf\x11\xe0",
    b"Rar!",
    b"BZh",
    b"7z\xbc\xaf",
    b"\xfd7zXZ",
    b"(\xb5/\xfd",
    b"\xca\xfe\xba\xbe",
)
CONTROL_SHARE = 0.1
"""Largest share of control characters in a text."""
TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b\x00")
OVERSTRUCK = re.compile(rb"_\x08(?=[!-~])|([!-~])\x08(?=\1)")
NO_TEXT = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
"""Control characters that no text has, not even a log of a terminal."""
PRINTABLE_BYTES = 224
"""Number of byte values that are not control characters of ASCII."""
RANDOM_SHARE = 0.85
"""Share of the different bytes of random data above which data in an unknown character set is not text."""
FEWEST_BYTES = 24
"""Number of bytes from which data can be told from random data."""


def looks_like_text(head: bytes) -> bool:
    """Return True if a text can begin with these bytes."""
    if head.startswith(UNICODE_MARKS):
        return True
    if head.startswith(BINARY_SIGNATURES):
        return False
    controls = sum(byte < 32 and byte not in TEXT_CONTROLS for byte in OVERSTRUCK.sub(b"", head))
    # The letters of many scripts have high bytes in UTF-16 that are control characters of ASCII.
    return controls <= CONTROL_SHARE * len(head) or begins_in_utf16(head)


def reads_as_text(head: bytes) -> bool:
    """Return True if these first bytes of a file are text, without knowing its name. The last character may be cut."""
    if not head or not looks_like_text(head):
        return False
    if head.startswith(UNICODE_MARKS):
        return True
    return not NO_TEXT.search(head) and (_is_utf8(head) or _is_legacy_text(head))


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _is_legacy_text(head: bytes) -> bool:
    """Return True if this is text in a legacy character set, and not compressed or encrypted data."""
    expected = PRINTABLE_BYTES * (1 - (1 - 1 / PRINTABLE_BYTES) ** len(head))
    if len(head) >= FEWEST_BYTES and len(set(head)) > RANDOM_SHARE * expected:
        return False
    try:
        decode(head)
    except IngestionError:
        return False
    return True


def read(file: SourceFile) -> Extraction:
    """Read a text file as one page of one section.

    Raises IngestionError if the file is not text.
    """
    decoded = read_lines(file)
    text = leave_out_blobs(remove_control_sequences(decoded.text))
    return Extraction(1, iter([ExtractedPage([text], decoded.warnings)]))


def read_lines(file: SourceFile) -> Decoded:
    """Return the text of a file, with all line ends as newlines. Words that NUL separates stay separate.

    Raises IngestionError if the file is not text.
    """
    decoded = decode(file.content.read(), file.charset)
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
    return Decoded(text.replace("\0", " "), decoded.warnings)


FORMAT = Format(media_type="text/plain", extensions=(".txt", ".text", ".log"), admits=looks_like_text, readers=(read,))
