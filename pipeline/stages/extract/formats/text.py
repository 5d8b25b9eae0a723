"""Plain text in any encoding."""

import codecs
from typing import BinaryIO

from charset_normalizer import from_bytes

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
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
)
CONTROL_SHARE = 0.1
"""Largest share of control characters in a text."""
TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b\x00")
SAMPLE_BYTES = 256 * 1024
"""Number of bytes that are examined to guess the encoding."""


def looks_like_text(head: bytes) -> bool:
    """Return True if a text can begin with these bytes."""
    if head.startswith(UTF16_MARKS):
        return True
    if head.startswith(BINARY_SIGNATURES):
        return False
    controls = sum(byte < 32 and byte not in TEXT_CONTROLS for byte in head)
    return controls <= CONTROL_SHARE * len(head)


def decode(data: bytes) -> str:
    """Decode text by its byte order mark, as UTF-8, or in the likeliest encoding (charset-normalizer).

    Raises IngestionError if no encoding fits.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        guess = from_bytes(data[:SAMPLE_BYTES]).best()
    if guess is None:
        message = "The text encoding of the file is unknown. Save the file as UTF-8 and upload it again."
        raise IngestionError(FailureCode.MALFORMED, message)
    return data.decode(guess.encoding, "replace")


def read(file: BinaryIO) -> Extraction:
    """Read a text file as one page of one section.

    Raises IngestionError if the text encoding is unknown.
    """
    return Extraction(1, iter([ExtractedPage([read_lines(file)])]))


def read_lines(file: BinaryIO) -> str:
    """Return the text of a file, with all line ends as newlines.

    Raises IngestionError if the text encoding is unknown.
    """
    return decode(file.read()).replace("\r\n", "\n").replace("\r", "\n")


FORMAT = Format(media_type="text/plain", extensions=(".txt", ".text", ".log"), admits=looks_like_text, readers=(read,))
