"""PPTX: one page per slide. Parsed without a library, which would load every image."""

from collections.abc import Iterator

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.archive import SIGNATURE, Archive, looks_like_office_file
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.opc import PACKAGE, find_related, open_package, read_relationships
from pipeline.stages.extract.xml import Element, get_name, parse

MAIN_TYPE = b"presentationml.presentation.main+xml"
PARAGRAPH = "\n\n"
CELL = " | "
REPEATED = frozenset({"sldNum", "dt", "ftr", "hdr"})
"""Placeholders with the same text on every slide: slide number, date, footer and header."""
NOTES = "body"
"""The placeholder that holds the notes of a notes page."""


def looks_like_pptx(head: bytes) -> bool:
    """Return True if these are the first bytes of an archive with the parts of a PPTX."""
    return head.startswith(SIGNATURE) and b"ppt/" in head


def read(file: SourceFile) -> Extraction:
    """Read a PPTX, one page per slide, in the order of the presentation.

    Raises IngestionError if the file is not a PPTX or is not safe to read.
    """
    archive = open_package(file.content, MAIN_TYPE)
    slides = _find_slides(archive)
    return Extraction(len(slides), (ExtractedPage([_read_slide(archive, slide)]) for slide in slides))


def _find_slides(archive: Archive) -> list[str]:
    [main] = find_related(read_relationships(archive, PACKAGE), "officeDocument")
    related = read_relationships(archive, main)
    slides = [
        related[identifier].target
        for entry in parse(archive.read(main)).iter()
        if get_name(entry) == "sldId"
        for attribute, identifier in entry.items()
        if attribute.endswith("}id")
    ]
    if len(set(slides)) < len(slides):
        message = "The presentation lists a slide twice. Open it, save it again and upload the new copy."
        raise IngestionError(FailureCode.MALFORMED, message)
    return slides


def _read_slide(archive: Archive, slide: str) -> str:
    """Return the text of a slide's shapes, diagrams and notes, in this order."""
    related = read_relationships(archive, slide)
    texts = [_read_text(shape) for shape in _find_shapes(parse(archive.read(slide)))]
    texts += [_read_text(parse(archive.read(diagram))) for diagram in find_related(related, "diagramData")]
    for notes in find_related(related, "notesSlide"):
        shapes = _find_shapes(parse(archive.read(notes)))
        texts += [_read_text(shape) for shape in shapes if _get_placeholder(shape) == NOTES]
    return PARAGRAPH.join(filter(None, texts))


def _find_shapes(root: Element) -> Iterator[Element]:
    """Yield shapes and tables in order, including those in groups."""
    return (shape for shape in _find(root, "sp", "graphicFrame") if _get_placeholder(shape) not in REPEATED)


def _find(root: Element, *names: str) -> Iterator[Element]:
    """Yield the outermost elements with these names, in order. Not recursive: nesting has no limit."""
    stack = [*reversed(root)]
    while stack:
        element = stack.pop()
        if (name := get_name(element)) in names:
            yield element
        elif name != "Fallback":  # an alternative to the `Choice` before it
            stack += reversed(element)


def _get_placeholder(shape: Element) -> str | None:
    """Return the type of the placeholder, such as `title`, or None if the shape is no placeholder."""
    return next((element.get("type", "obj") for element in _find(shape, "ph")), None)


def _read_text(shape: Element) -> str:
    """Return the text of a shape or a table, one line per paragraph or row."""
    lines = (
        _read_paragraph(element) if get_name(element) == "p" else _read_row(element)
        for element in _find(shape, "p", "tr")
    )
    return "\n".join(line for line in lines if line.strip())


def _read_row(row: Element) -> str:
    cells = (_read_text(cell).replace("\n", " ") for cell in _find(row, "tc"))
    return CELL.join(filter(None, cells))


def _read_paragraph(paragraph: Element) -> str:
    pieces = []
    for element in paragraph.iter():
        match get_name(element):
            case "t":
                pieces.append(element.text or "")
            case "br":
                pieces.append("\n")
            case "tab":
                pieces.append("\t")
    return "".join(pieces)


FORMAT = Format(
    media_type="application/vnd.openxmlformats-officedocument.presentationml.presentation",
    extensions=(".pptx",),
    aliases=("application/zip", "application/x-zip-compressed"),
    admits=looks_like_office_file,
    signature=looks_like_pptx,
    readers=(read,),
)
