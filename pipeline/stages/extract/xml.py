"""XML of archives, read strictly: no document type, and so no entity and nothing to fetch."""

from xml.etree import ElementTree
from xml.parsers import expat

from pipeline.errors import FailureCode, IngestionError

Element = ElementTree.Element


def check(data: bytes) -> None:
    """Refuse XML that is not well-formed or has a document type.

    Raises IngestionError.
    """
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        message = "A part of the file is no well-formed XML. Open it, save it anew and upload that."
        raise IngestionError(FailureCode.MALFORMED, message) from error


def parse(data: bytes) -> Element:
    """Return the root element.

    Raises IngestionError where the XML is not well-formed or has a document type.
    """
    check(data)
    return ElementTree.fromstring(data)  # noqa: S314 - without a document type there is nothing to expand


def get_name(element: Element) -> str:
    """Return the name without its namespace: the strict and the usual variant of a format differ in that alone."""
    return element.tag.rpartition("}")[2]


def _refuse(*_: object) -> None:
    message = "A part of the file declares a document type, which no program writes there. Save the file anew."
    raise IngestionError(FailureCode.MALFORMED, message)
