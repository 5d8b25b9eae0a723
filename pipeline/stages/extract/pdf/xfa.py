"""XFA forms: PDFs whose pages only ask to open the file in Acrobat. The form is XML beside the pages."""

import re
from collections.abc import Iterator
from ctypes import byref, c_ulong, create_string_buffer
from xml.etree.ElementTree import Element

from pypdfium2 import PdfDocument
from pypdfium2.raw import FPDF_GetXFAPacketContent, FPDF_GetXFAPacketCount, FPDF_GetXFAPacketName

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.xml import get_name, parse
from pipeline.types import PageWarning, WarningCode

PLACEHOLDER = re.compile(
    r"if this message is not eventually replaced|your pdf viewer may not be able to display this type of document",
    re.IGNORECASE,
)
"""What Adobe's programs write on the page of a form that only they can show."""
LONGEST_PLACEHOLDER = 2_000
"""Longest text of a page that may be a placeholder, in characters."""
MAX_PACKET_BYTES = 16 * 1024 * 1024
"""Largest packet of a form that is read, in bytes."""
MAX_PACKETS = 50
PLACED = frozenset({"draw", "field"})
"""Elements of a form with a text. None is in another one."""
NOT_RENDERED = PageWarning(
    WarningCode.FORM_NOT_RENDERED,
    "The page is a form that only Adobe Acrobat shows. Its labels and values were read, but their order is in doubt.",
)


def is_placeholder(text: str) -> bool:
    """Return True if the text of a page only asks to open the file in Acrobat."""
    return len(text) <= LONGEST_PLACEHOLDER and PLACEHOLDER.search(" ".join(text.split())) is not None


def read_form(document: PdfDocument) -> str:
    """Return the labels and values of the form of a document, a line each.

    Raises IngestionError if it has none that can be read.
    """
    packets = dict(_find_packets(document))
    values = list(_find_values(packets["datasets"])) if "datasets" in packets else []
    filled = dict(values)
    lines = list(_find_lines(packets["template"], filled)) if "template" in packets else []
    shown = {(name, filled.get(name)) for name in _find_names(packets.get("template"))} | {("", line) for line in lines}
    lines += [f"{name}: {value}" for name, value in values if not {(name, value), ("", value)} & shown]
    if not lines:
        raise refuse_form()
    return "\n".join(lines)


def refuse_form() -> IngestionError:
    """Return the error for a form that cannot be read."""
    message = "The PDF is a form that only Adobe Acrobat shows. Open it in Acrobat, print it to a PDF, upload that."
    return IngestionError(FailureCode.MALFORMED, message)


def _find_packets(document: PdfDocument) -> Iterator[tuple[str, Element]]:
    """Yield the names and the XML of the packets of a form. Packets that are too large or broken are left out."""
    for number in range(min(FPDF_GetXFAPacketCount(document), MAX_PACKETS)):
        name = create_string_buffer(64)
        FPDF_GetXFAPacketName(document, number, name, 64)
        size = c_ulong()
        FPDF_GetXFAPacketContent(document, number, None, 0, byref(size))
        if name.value not in (b"template", b"datasets") or not 0 < size.value <= MAX_PACKET_BYTES:
            continue
        content = create_string_buffer(size.value)
        FPDF_GetXFAPacketContent(document, number, content, size.value, byref(size))
        try:
            yield name.value.decode(), parse(content.raw)
        except IngestionError:
            continue


def _find_values(datasets: Element) -> Iterator[tuple[str, str]]:
    """Yield the names and the values of the fields that are filled in."""
    for element in datasets.iter():
        value = " ".join((element.text or "").split())
        if value and not len(element):
            yield get_name(element), value


def _find_lines(template: Element, values: dict[str, str]) -> Iterator[str]:
    """Yield the texts of a form, and each field's label and value, in the order of the template."""
    waiting = [template]
    while waiting:
        element = waiting.pop()
        kind = get_name(element)
        if kind not in PLACED:
            waiting += reversed(element)
        if kind == "draw":
            text = _read_value(element)
        elif kind == "field":
            label = " ".join(_read_value(child) for child in element if get_name(child) == "caption")
            text = " ".join(filter(None, [label, values.get(element.get("name", ""), "") or _read_value(element)]))
        else:
            continue
        if text:
            yield text


def _find_names(template: Element | None) -> Iterator[str]:
    """Yield the names of the fields of a form."""
    if template is not None:
        yield from (field.get("name", "") for field in template.iter() if get_name(field) == "field")


def _read_value(element: Element) -> str:
    """Return the text of an element's own value."""
    found = (child for child in element if get_name(child) == "value")
    return " ".join(" ".join("".join(child.itertext()) for child in found).split())
