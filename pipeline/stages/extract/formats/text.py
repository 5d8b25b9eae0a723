"""Plain text in any encoding."""

import codecs

from pipeline.stages.extract.charset import Decoded, decode
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.normalize import remove_control_sequences

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


def looks_like_text(head: bytes) -> bool:
    """Return True if a text can begin with these bytes."""
    if head.startswith(UTF16_MARKS):
        return True
    if head.startswith(BINARY_SIGNATURES):
        return False
    controls = sum(byte < 32 and byte not in TEXT_CONTROLS for byte in head)
    return controls <= CONTROL_SHARE * len(head)


def read(file: SourceFile) -> Extraction:
    """Read a text file as one page of one section.

    Raises IngestionError if the file is no text.
    """
    decoded = read_lines(file)
    return Extraction(1, iter([ExtractedPage([remove_control_sequences(decoded.text)], decoded.warnings)]))


def read_lines(file: SourceFile) -> Decoded:
    """Return the text of a file, with all line ends as newlines.

    Raises IngestionError if the file is no text.
    """
    decoded = decode(file.content.read(), file.charset)
    return Decoded(decoded.text.replace("\r\n", "\n").replace("\r", "\n"), decoded.warnings)


FORMAT = Format(media_type="text/plain", extensions=(".txt", ".text", ".log"), admits=looks_like_text, readers=(read,))
