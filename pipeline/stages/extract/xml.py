"""Strict reading of XML parts: no DOCTYPE, so no entities to expand and no external files to fetch."""

from xml.etree import ElementTree
from xml.parsers import expat

from pipeline.errors import FailureCode, IngestionError

Element = ElementTree.Element


def check(data: bytes) -> None:
    """Check that the XML is well-formed and has no DOCTYPE.

    Raises IngestionError otherwise.
    """
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        message = "A part of the file is not well-formed XML. Open the file, save it again and upload the new copy."
        raise IngestionError(FailureCode.MALFORMED, message) from error


def parse(data: bytes) -> Element:
    """Return the root element.

    Raises IngestionError if the XML is not well-formed or has a DOCTYPE.
    """
    check(data)
    return ElementTree.fromstring(data)  # noqa: S314 - `check` refuses a DOCTYPE, so there are no entities to expand


def get_name(element: Element) -> str:
    """Return the element's name without its namespace, which differs between strict and transitional Office files."""
    return element.tag.rpartition("}")[2]


def _refuse(*_: object) -> None:
    message = (
        "A part of the file has a DOCTYPE, which is not allowed. Open the file, save it again and upload the new copy."
    )
    raise IngestionError(FailureCode.MALFORMED, message)
