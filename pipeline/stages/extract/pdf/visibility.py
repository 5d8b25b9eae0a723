"""What a viewer does not show of the text of a page: text in layers that are off, and text outside its clip path."""

from collections.abc import Iterator
from ctypes import byref, c_float, c_ulong, create_string_buffer
from typing import Any

from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject
from pypdfium2.raw import (
    FPDF_WCHAR,
    FPDFClipPath_CountPaths,
    FPDFClipPath_CountPathSegments,
    FPDFClipPath_GetPathSegment,
    FPDFPageObj_CountMarks,
    FPDFPageObj_GetBounds,
    FPDFPageObj_GetClipPath,
    FPDFPageObj_GetMark,
    FPDFPageObjMark_GetParamStringValue,
    FPDFPathSegment_GetPoint,
)

from pipeline.stages.extract.pdf.lines import Line

MAX_CLIP_POINTS = 32
"""Largest number of points of a clip path that are looked at. A path with more hides nothing."""
MAX_LAYERS = 10_000
LONGEST_NAME = 512
"""Longest name of a layer, in bytes of UTF-16."""


class HiddenLayers:
    """The layers (optional content groups) of a document that are off, by their names."""

    def __init__(self, names: frozenset[str] = frozenset()) -> None:
        self._names = names

    def hide(self, shape: Any) -> bool:
        """Return True if an object of a page belongs to one of the layers."""
        return bool(self._names) and any(name in self._names for name in _find_layers(shape))


def find_hidden_layers(reader: PdfReader) -> HiddenLayers:
    """Return the layers that are off when a viewer opens the document.

    Raises any exception if the file is broken.
    """
    properties = reader.root_object.get("/OCProperties")
    found = properties.get_object() if properties else None
    if not isinstance(found, DictionaryObject):
        return HiddenLayers()
    default = found.get("/D", DictionaryObject()).get_object()
    off = _read_names(default, "/OFF")
    if default.get("/BaseState") == "/OFF":
        off |= _read_names(found, "/OCGs") - _read_names(default, "/ON")
    return HiddenLayers(off)


def _read_names(holder: DictionaryObject, key: str) -> frozenset[str]:
    groups = holder.get(key, ArrayObject()).get_object()
    if not isinstance(groups, ArrayObject):
        return frozenset()
    found = (group.get_object() for group in groups[:MAX_LAYERS])
    return frozenset(str(group["/Name"]) for group in found if isinstance(group, DictionaryObject) and "/Name" in group)


def _find_layers(shape: Any) -> Iterator[str]:
    """Yield the names of the marked contents that an object is in. That of a layer is its name."""
    name, size = create_string_buffer(LONGEST_NAME), c_ulong()
    for number in range(FPDFPageObj_CountMarks(shape)):
        mark = FPDFPageObj_GetMark(shape, number)
        room = (FPDF_WCHAR * (LONGEST_NAME // 2)).from_buffer(name)
        if FPDFPageObjMark_GetParamStringValue(mark, b"Name", room, LONGEST_NAME, byref(size)):
            yield name.raw[: max(size.value - 2, 0)].decode("utf-16-le", "replace")


def is_clipped(shape: Any, line: Line) -> bool:
    """Return True if no part of a line is within the clip path of its text object."""
    clip = FPDFPageObj_GetClipPath(shape)
    for number in range(max(FPDFClipPath_CountPaths(clip), 0)):
        box = _measure(clip, number)
        if box and (line.right < box[0] or line.left > box[2] or line.top < box[1] or line.bottom > box[3]):
            return _is_at(shape, line)
    return False


def _measure(clip: Any, number: int) -> tuple[float, float, float, float] | None:
    """Return the box around a path, or None if it is too long to look at."""
    count = FPDFClipPath_CountPathSegments(clip, number)
    if not 0 < count <= MAX_CLIP_POINTS:
        return None
    x, y = c_float(), c_float()
    xs, ys = [], []
    for index in range(count):
        FPDFPathSegment_GetPoint(FPDFClipPath_GetPathSegment(clip, number, index), byref(x), byref(y))
        xs.append(x.value)
        ys.append(y.value)
    return min(xs), min(ys), max(xs), max(ys)


def _is_at(shape: Any, line: Line) -> bool:
    """Return True if an object has the coordinates of the page. Objects within a form have their own."""
    left, bottom, right, top = c_float(), c_float(), c_float(), c_float()
    FPDFPageObj_GetBounds(shape, byref(left), byref(bottom), byref(right), byref(top))
    return left.value - 1 <= line.left <= right.value + 1 and line.bottom <= top.value and line.top >= bottom.value
