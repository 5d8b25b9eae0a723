"""Short names of the elements of Office Open XML, the same for its strict and its transitional form."""

import re
from collections.abc import Iterator

from pipeline.stages.extract.xml import Element

_OFFICE = "http://schemas.openxmlformats.org/"
_STRICT = "http://purl.oclc.org/ooxml/"
NAMESPACES = {
    f"{_OFFICE}wordprocessingml/2006/main": "w",
    f"{_STRICT}wordprocessingml/main": "w",
    f"{_OFFICE}officeDocument/2006/math": "m",
    f"{_STRICT}officeDocument/math": "m",
    f"{_OFFICE}presentationml/2006/main": "p",
    f"{_STRICT}presentationml/main": "p",
    "http://schemas.microsoft.com/office/powerpoint/2018/8/main": "p188",
    f"{_OFFICE}drawingml/2006/main": "a",
    f"{_STRICT}drawingml/main": "a",
    f"{_OFFICE}drawingml/2006/wordprocessingDrawing": "wp",
    f"{_STRICT}drawingml/wordprocessingDrawing": "wp",
    f"{_OFFICE}drawingml/2006/spreadsheetDrawing": "xdr",
    f"{_STRICT}drawingml/spreadsheetDrawing": "xdr",
    f"{_OFFICE}drawingml/2006/chart": "c",
    f"{_STRICT}drawingml/chart": "c",
    "http://schemas.microsoft.com/office/drawing/2014/chartex": "cx",
    f"{_OFFICE}drawingml/2006/diagram": "dgm",
    f"{_STRICT}drawingml/diagram": "dgm",
    f"{_OFFICE}markup-compatibility/2006": "mc",
    "urn:schemas-microsoft-com:vml": "v",
    "urn:schemas-microsoft-com:office:office": "o",
}
"""Prefixes of the namespaces that are read. Elements of other namespaces have names without a prefix."""


OFF = ("0", "false", "off", "none")
"""Values of properties that are not set."""


ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
"""A character that XML cannot hold, as Office writes it in slides and charts."""
BREAKS = {"\v": "\n", "\r": "\n"}


class Names(dict[str, str]):
    """Short names by tag, such as `w:p`. They are made on first use: a document has few tags, each very often."""

    def __missing__(self, tag: str) -> str:
        namespace, _, local = tag.rpartition("}")
        prefix = NAMESPACES.get(namespace[1:])
        name = self[tag] = f"{prefix}:{local}" if prefix else local
        return name


def get_attribute(element: Element, name: str) -> str | None:
    """Return an attribute by its name without the namespace, or None."""
    for key, value in element.items():
        if key == name or key.endswith("}" + name):
            return value
    return None


def is_on(element: Element) -> bool:
    """Return True unless the element's `val` says no."""
    return get_attribute(element, "val") not in OFF


def to_int(value: str | None, default: int = 0) -> int:
    """Return a number of a file, or the default if it is missing, or no number of at most six digits."""
    if value is None or len(value) > 7 or not value.lstrip("-").isascii() or not value.lstrip("-").isdigit():
        return default
    return int(value)


def unescape(text: str) -> str:
    """Return a text with the characters that were escaped. Surrogates stay escaped, because no text may hold them."""
    return ESCAPE.sub(_unescape, text) if "_x" in text else text


def _unescape(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    is_surrogate = 0xD800 <= ord(character) <= 0xDFFF
    return found[0] if is_surrogate else BREAKS.get(character, character)


def find_all(root: Element, names: Names, *wanted: str) -> Iterator[Element]:
    """Yield the outermost elements with these short names below `root`, in order. Nesting has no limit."""
    stack = [*reversed(root)]
    while stack:
        element = stack.pop()
        if (name := names[element.tag]) in wanted:
            yield element
        else:
            stack += reversed(choose(element) if name == "mc:AlternateContent" else element)


def choose(alternatives: Element) -> Element | tuple[()]:
    """Return the first of several alternatives that has content. The others say the same in other ways."""
    return next((child for child in alternatives if len(child)), ())


def find_child(element: Element | None, names: Names, *path: str) -> Element | None:
    """Return the first child with a short name, the first child of that with the next name, and so on."""
    for name in path:
        if element is None:
            return None
        for child in element:
            if names[child.tag] == name:
                break
        else:
            return None
        element = child
    return element
