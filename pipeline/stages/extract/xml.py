"""Strict reading of XML parts: no DOCTYPE, so no entities to expand and no external files to fetch."""

from xml.etree import ElementTree
from xml.parsers import expat

from pipeline.errors import FailureCode, IngestionError

Element = ElementTree.Element


class BrokenXml(IngestionError):
    """The XML is not well-formed."""


def check(data: bytes, *, allows_doctype: bool = False) -> None:
    """Check that the XML is well-formed and has no DOCTYPE. `allows_doctype` allows one that declares nothing itself.

    Raises BrokenXml or IngestionError otherwise.
    """
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_declarations if allows_doctype else _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise _break() from error


def parse(data: bytes, *, allows_doctype: bool = False) -> Element:
    """Return the root element.

    Raises BrokenXml if the XML is not well-formed, and IngestionError if it has a DOCTYPE that is not allowed.
    """
    check(data, allows_doctype=allows_doctype)
    try:
        return ElementTree.fromstring(data)  # noqa: S314 - `check` refuses declarations, so there are no entities to expand
    except ElementTree.ParseError as error:  # a prefix without a namespace, which `check` does not look for
        raise _break() from error


def get_name(element: Element) -> str:
    """Return the element's name without its namespace, which differs between strict and transitional Office files."""
    return element.tag.rpartition("}")[2]


def _break() -> BrokenXml:
    message = "A part of the file is not well-formed XML. Open the file, save it again and upload the new copy."
    return BrokenXml(FailureCode.MALFORMED, message)


def _refuse_declarations(_name: str, _system: str | None, _public: str | None, has_declarations: int) -> None:
    if has_declarations:
        _refuse()


def _refuse(*_: object) -> None:
    message = (
        "A part of the file has a DOCTYPE, which is not allowed. Open the file, save it again and upload the new copy."
    )
    raise IngestionError(FailureCode.MALFORMED, message)
