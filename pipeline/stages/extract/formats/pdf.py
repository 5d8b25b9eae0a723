"""PDF. Its readers are imported when a file is read, because API and worker recognize files and read none.

The libraries take 16 MiB. `pipeline.sandbox.preload` imports them for the children.
"""

from typing import BinaryIO

from pipeline.stages.extract.format import Extraction, Format, Mark, SourceFile

HEADER_WINDOW = 1024
"""Number of bytes within which the header must begin. Readers ignore the bytes before it."""


def has_header(head: bytes) -> bool:
    """Return True if a PDF begins within these bytes."""
    return b"%PDF-" in head[:HEADER_WINDOW]


def _read(file: SourceFile) -> Extraction:
    from pipeline.stages.extract.pdf import reading  # noqa: PLC0415 - large

    return reading.read(file)


def _read_by_pypdf(file: SourceFile) -> Extraction:
    from pipeline.stages.extract.pdf import reading  # noqa: PLC0415 - large

    return reading.read_by_pypdf(file)


def _read_by_pdfium(file: SourceFile) -> Extraction:
    from pipeline.stages.extract.pdf import reading  # noqa: PLC0415 - large

    return reading.read_by_pdfium(file)


def _draw(file: BinaryIO, number: int, mark: Mark | None) -> bytes:
    from pipeline.stages.extract import page_image  # noqa: PLC0415 - large

    return page_image.draw(file, number, mark)


FORMAT = Format(
    media_type="application/pdf",
    extensions=(".pdf",),
    aliases=("application/x-pdf",),
    admits=has_header,
    signature=has_header,
    readers=(_read, _read_by_pypdf, _read_by_pdfium),
    draw=_draw,
    no_text="The file contains no text; perhaps it is a scan. Run text recognition (OCR) and upload the result.",
)
