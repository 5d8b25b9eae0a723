"""Plain text in whatever encoding."""

import codecs
from typing import BinaryIO

from charset_normalizer import from_bytes

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.format import Extraction, Format

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 256 * 1024
"""So much of the file is looked at to guess an encoding."""


def decode(data: bytes) -> str:
    """Decode text: by its byte order mark, as UTF-8, or by the likeliest encoding.

    Raises IngestionError where no encoding fits.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        guess = from_bytes(data[:SAMPLE_BYTES]).best()
    if guess is None:
        raise IngestionError(FailureCode.MALFORMED, "The encoding of the text cannot be told. Save the file as UTF-8.")
    return data.decode(guess.encoding, "replace")


def read(file: BinaryIO) -> Extraction:
    """Read a text file as one page of one section."""
    return Extraction(pages=1, texts=iter([[read_lines(file)]]))


def read_lines(file: BinaryIO) -> str:
    """Text of a file; line ends become newlines."""
    return decode(file.read()).replace("\r\n", "\n").replace("\r", "\n")


FORMAT = Format(media_type="text/plain", extensions=(".txt", ".text", ".log"), readers=(read,))
