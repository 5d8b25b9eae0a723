"""ODP (OpenDocument presentation): one page a slide, its title first and its notes last."""

import re
from collections.abc import Iterator

from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.odt import admits, looks_like_open_document, open_document
from pipeline.stages.extract.office.layout import Box, order
from pipeline.stages.extract.office.open_styles import get_attributes, get_name
from pipeline.stages.extract.office.open_text import OpenReader
from pipeline.stages.extract.office.story import Line, to_blocks
from pipeline.stages.extract.opc import Skipped
from pipeline.stages.extract.xml import Element

MEDIA_TYPE = b"application/vnd.oasis.opendocument.presentation"
LENGTH = re.compile(r"(-?\d{1,6}(?:\.\d{1,20})?)(cm|mm|in|pt)")
MOVE = re.compile(r"translate ?\(([^\s,)]+)[\s,]+([^\s,)]+)\)")
"""Where a turned shape lies."""
SIDES = ("x", "y", "width", "height", "x1", "y1", "x2", "y2")
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
    package = open_document(file, skipped)
    parts = [part for body in package.content for part in body if get_name(part) == "office:presentation"]
    slides = [slide for part in parts for slide in part if get_name(slide) == "drawing:page"]
    reader = OpenReader(package.archive, package.collect_styles(for_pages=False), skipped)
    return Extraction(max(1, len(slides)), _read_slides(slides, reader, skipped, _read_footers(parts)))


def _read_footers(parts: list[Element]) -> dict[str, str]:
    """Return the footers of slides by their names."""
    footers = [child for part in parts for child in part if get_name(child) == "presentation:footer-decl"]
    return {
        get_attributes(footer).get("presentation:name", ""): " ".join("".join(footer.itertext()).split())
        for footer in footers
    }


def _read_slides(
    slides: list[Element], reader: OpenReader, skipped: Skipped, footers: dict[str, str]
) -> Iterator[ExtractedPage]:
    """Yield the text of each slide. A footer is read where it first appears."""
    if not slides:
        yield ExtractedPage([""])
    for slide in slides:
        skipped.warnings = []
        reader.comments.clear()
        lines = reader.read(_order_shapes(slide))
        if footer := footers.pop(get_attributes(slide).get("presentation:use-footer-name", ""), ""):
            lines.append(Line(footer))
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
            others.append((_find_box(shape), shape))
    return [*titles, *(shape for _, shape in order(others))]


def _find_box(shape: Element) -> Box:
    """Return the place of a shape. A group is where its shapes are."""
    boxes: list[Box] = []
    stack = [shape]
    while stack:
        element = stack.pop()
        if get_name(element) == "drawing:g":
            stack += element
        elif (box := _read_box(get_attributes(element))) is not None:
            boxes.append(box)
    if not boxes:
        return Box()
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right, bottom = max(box.left + box.width for box in boxes), max(box.top + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)


def _read_box(attributes: dict[str, str]) -> Box | None:
    """Return the place that a shape has, or None. A turned shape and a line say it in other ways."""
    moved = MOVE.search(attributes.get("drawing:transform", ""))
    sides = {side: _read_length(attributes.get(f"svg-compatible:{side}", "")) for side in SIDES}
    left, top = (_read_length(length) for length in moved.groups()) if moved else (sides["x"], sides["y"])
    if left is None and sides["x1"] is not None:
        ends = [(sides[f"{axis}1"] or 0, sides[f"{axis}2"] or 0) for axis in "xy"]
        return Box(*map(min, ends), *(abs(end - begin) for begin, end in ends))
    if left is None and top is None:
        return None
    return Box(left or 0, top or 0, sides["width"] or 0, sides["height"] or 0)


def _read_length(text: str) -> int | None:
    found = LENGTH.fullmatch(text)
    return round(float(found[1]) * UNITS[found[2]]) if found else None


FORMAT = Format(
    media_type="application/vnd.oasis.opendocument.presentation",
    extensions=(".odp", ".otp", ".fodp"),
    aliases=(
        "application/vnd.oasis.opendocument.presentation-flat-xml",
        "application/vnd.oasis.opendocument.presentation-template",
        "application/zip",
        "application/x-zip-compressed",
    ),
    admits=admits,
    signature=looks_like_odp,
    readers=(read,),
)
