"""ODP (OpenDocument presentation): one page a slide, its title first and its notes last."""

import re
from collections.abc import Iterator

from pipeline.stages.extract.archive import SIGNATURE
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.odt import looks_like_open_document, open_document
from pipeline.stages.extract.office.layout import Box, order
from pipeline.stages.extract.office.open_styles import get_attributes, get_name
from pipeline.stages.extract.office.open_text import OpenReader
from pipeline.stages.extract.office.story import Line, to_blocks
from pipeline.stages.extract.opc import Skipped
from pipeline.stages.extract.xml import Element

MEDIA_TYPE = b"application/vnd.oasis.opendocument.presentation"
LENGTH = re.compile(r"(-?\d{1,6}(?:\.\d{1,6})?)(cm|mm|in|pt)")
UNITS = {"cm": 1000, "mm": 100, "in": 2540, "pt": 35}
"""Units of length, in hundredths of a millimetre."""
TITLE = "title"
NUMBERS = frozenset({"page-number", "page"})
"""Classes of shapes that hold the number or a picture of the slide."""


def looks_like_odp(head: bytes) -> bool:
    """Return True if these are the first bytes of an archive that says it is an ODP."""
    return looks_like_open_document(head, MEDIA_TYPE)


def read(file: SourceFile) -> Extraction:
    """Read an ODP, a slide a page.

    Raises IngestionError if it is damaged, protected by a password or not safe to read.
    """
    skipped = Skipped()
    archive, content, _, styles = open_document(file, skipped)
    parts = [part for body in content for part in body if get_name(part) == "office:presentation"]
    slides = [slide for part in parts for slide in part if get_name(slide) == "drawing:page"]
    return Extraction(max(1, len(slides)), _read_slides(slides, OpenReader(archive, styles, skipped), skipped))


def _read_slides(slides: list[Element], reader: OpenReader, skipped: Skipped) -> Iterator[ExtractedPage]:
    if not slides:
        yield ExtractedPage([""])
    for slide in slides:
        skipped.warnings = []
        reader.comments.clear()
        lines = reader.read(_order_shapes(slide))
        notes = [note for note in slide if get_name(note) == "presentation:notes"]
        lines += [Line(line.text) for note in notes for line in reader.read(_order_shapes(note))]
        text = "".join(block.text for block in to_blocks([*lines, *reader.comments]))
        yield ExtractedPage([text], skipped.warnings)


def _order_shapes(slide: Element) -> list[Element]:
    """Return the shapes of a slide in reading order, the title first."""
    titles: list[Element] = []
    others: list[tuple[Box, Element]] = []
    for shape in slide:
        attributes = get_attributes(shape)
        kind = attributes.get("presentation:class", "")
        if kind in NUMBERS or attributes.get("presentation:placeholder") == "true":
            continue
        if kind == TITLE:
            titles.append(shape)
        else:
            sides = ("x", "y", "width", "height")
            others.append((Box(*(_read_length(attributes.get(f"svg-compatible:{side}", "")) for side in sides)), shape))
    return [*titles, *(shape for _, shape in order(others))]


def _read_length(text: str) -> int:
    found = LENGTH.fullmatch(text)
    return round(float(found[1]) * UNITS[found[2]]) if found else 0


FORMAT = Format(
    media_type="application/vnd.oasis.opendocument.presentation",
    extensions=(".odp", ".otp"),
    aliases=(
        "application/vnd.oasis.opendocument.presentation-template",
        "application/zip",
        "application/x-zip-compressed",
    ),
    admits=lambda head: head.startswith(SIGNATURE),
    signature=looks_like_odp,
    readers=(read,),
)
