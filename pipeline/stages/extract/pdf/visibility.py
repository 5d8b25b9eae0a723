"""What a viewer does not show of the text of a page: text in layers that are off, clipped text, and invisible sizes."""

import io
from collections.abc import Iterator
from ctypes import byref, c_float, c_ulong, c_void_p, cast, create_string_buffer
from typing import Any

from pypdf import PdfReader, PdfWriter
from pypdf.errors import PdfReadError
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject, NameObject, NumberObject, TextStringObject
from pypdfium2 import PdfPage
from pypdfium2.raw import (
    FPDF_ANNOT_FLAG_HIDDEN,
    FPDF_PAGEOBJ_FORM,
    FPDF_WCHAR,
    FPDFClipPath_CountPaths,
    FPDFClipPath_CountPathSegments,
    FPDFClipPath_GetPathSegment,
    FPDFFormObj_CountObjects,
    FPDFFormObj_GetObject,
    FPDFPage_CountObjects,
    FPDFPage_GetObject,
    FPDFPageObj_CountMarks,
    FPDFPageObj_GetBounds,
    FPDFPageObj_GetClipPath,
    FPDFPageObj_GetMark,
    FPDFPageObj_GetType,
    FPDFPageObjMark_GetParamStringValue,
    FPDFPathSegment_GetPoint,
)

from pipeline.stages.extract.pdf.lines import Line

MAX_COPIED_BYTES = 64 * 1024 * 1024
"""Size of the largest file whose hidden layers are left out, in bytes."""
MAX_CLIP_POINTS = 32
"""Largest number of points of a clip path that are looked at. A path with more hides nothing."""
MAX_SHAPES = 20_000
"""Largest number of shapes of a page that are searched for forms in hidden layers."""
MAX_DEPTH = 10
"""Largest depth of expressions of layers, and of forms within forms."""
HIDDEN = "sluice:hidden"
"""Name of all layers that are off, in the copy of a document."""
LONGEST_NAME = 64
"""Longest name of a layer that is compared, in bytes of UTF-16."""


def mark_hidden_layers(reader: PdfReader) -> io.BytesIO | None:
    """Return a copy of a document in which the layers that are off have the name `HIDDEN`.

    Forms and annotations that belong to them are left out. Returns None if all layers are on, or the
    document is too large.
    Raises any exception if the file is broken.
    """
    if not _find_hidden(reader.root_object) or reader.stream.seek(0, io.SEEK_END) > MAX_COPIED_BYTES:
        return None
    writer = PdfWriter(clone_from=reader)
    layers = _Layers(_find_hidden(writer.root_object))
    number = 0
    while True:
        number += 1
        try:
            found = writer.get_object(number)
        except IndexError:
            break
        except PdfReadError:
            continue  # The number is not used.
        for holder in _walk(found):
            layers.mark(holder)
    copy = io.BytesIO()
    writer.write(copy)
    return copy


class _Layers:
    """The layers (optional content groups) of a document that are off, by their object numbers."""

    def __init__(self, off: frozenset[int]) -> None:
        self._off = off

    def mark(self, holder: DictionaryObject) -> None:
        """Mark what a dictionary has of hidden layers, or leave it out."""
        shapes, properties = _resolve(holder.get("/XObject")), _resolve(holder.get("/Properties"))
        if isinstance(shapes, DictionaryObject):
            for name in [name for name, shape in shapes.items() if self._hides_content(shape)]:
                del shapes[name]
        if isinstance(properties, DictionaryObject):
            for name in [name for name, layer in properties.items() if self._is_off(layer)]:
                properties[NameObject(name)] = DictionaryObject({NameObject("/Name"): TextStringObject(HIDDEN)})
        if "/Rect" in holder and self._hides_content(holder):
            holder[NameObject("/F")] = NumberObject(FPDF_ANNOT_FLAG_HIDDEN)

    def _hides_content(self, shape: Any) -> bool:
        content = _resolve(shape)
        return isinstance(content, DictionaryObject) and "/OC" in content and self._is_off(content.raw_get("/OC"))

    def _is_off(self, layer: Any) -> bool:
        """Return True if a layer, or a combination of layers, is off."""
        found = _resolve(layer)
        if not isinstance(found, DictionaryObject):
            return False
        if found.get("/Type") != "/OCMD":
            return isinstance(layer, IndirectObject) and layer.idnum in self._off
        if "/VE" in found:
            return not self._evaluate(found.raw_get("/VE"), MAX_DEPTH)
        groups = found.raw_get("/OCGs") if "/OCGs" in found else None
        several = _resolve(groups)
        members = several if isinstance(several, ArrayObject) else [groups] if groups else []
        states = [member.idnum not in self._off for member in members if isinstance(member, IndirectObject)]
        policies = {
            "/AllOn": all(states),
            "/AnyOff": not all(states),
            "/AllOff": not any(states),
        }
        return bool(states) and not policies.get(str(found.get("/P")), any(states))

    def _evaluate(self, expression: Any, depth: int) -> bool:
        """Return the value of a visibility expression (ISO 32000, 8.11.2.2)."""
        found = _resolve(expression)
        if not isinstance(found, ArrayObject) or not found or not depth:
            return not self._is_off(expression)
        values = [self._evaluate(part, depth - 1) for part in found[1:]]
        match str(found[0]):
            case "/Not":
                return not all(values)
            case "/Or":
                return any(values)
        return all(values)


def _find_hidden(root: DictionaryObject) -> frozenset[int]:
    """Return the numbers of the layers that are off when a viewer opens the document."""
    properties = _resolve(root.get("/OCProperties"))
    default = _resolve(properties.get("/D")) if isinstance(properties, DictionaryObject) else None
    if not isinstance(default, DictionaryObject):
        return frozenset()
    off = _read_numbers(default.get("/OFF"))
    if default.get("/BaseState") == "/OFF":
        off |= _read_numbers(properties.get("/OCGs")) - _read_numbers(default.get("/ON"))
    return off


def _read_numbers(groups: Any) -> frozenset[int]:
    found = _resolve(groups)
    if not isinstance(found, ArrayObject):
        return frozenset()
    return frozenset(group.idnum for group in found if isinstance(group, IndirectObject))


def _resolve(value: Any) -> Any:
    return value.get_object() if isinstance(value, IndirectObject) else value


def _walk(found: Any) -> Iterator[DictionaryObject]:
    """Yield the dictionaries in an object, without those that it refers to."""
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, DictionaryObject):
            yield value
            waiting += [value.raw_get(key) for key in value]
        elif isinstance(value, ArrayObject):
            waiting += list(value)


class HiddenShapes:
    """The text objects of a page that belong to hidden layers, in a copy that `mark_hidden_layers` has made."""

    def __init__(self, page: PdfPage) -> None:
        """Search a page for forms that are drawn in hidden layers."""
        self._addresses: set[int | None] = set()
        left = MAX_SHAPES
        waiting = [
            (FPDFPage_GetObject(page, number), False, MAX_DEPTH)
            for number in range(min(FPDFPage_CountObjects(page), MAX_SHAPES))
        ]
        while waiting and left:
            left -= 1
            shape, is_hidden, depth = waiting.pop()
            is_hidden = is_hidden or _is_marked(shape)
            if is_hidden:
                self._addresses.add(cast(shape, c_void_p).value)
            if FPDFPageObj_GetType(shape) == FPDF_PAGEOBJ_FORM and depth:
                numbers = range(min(FPDFFormObj_CountObjects(shape), MAX_SHAPES))
                waiting += [(FPDFFormObj_GetObject(shape, number), is_hidden, depth - 1) for number in numbers]

    def hide(self, shape: Any) -> bool:
        """Return True if a text object belongs to a hidden layer."""
        return cast(shape, c_void_p).value in self._addresses


def _is_marked(shape: Any) -> bool:
    """Return True if an object is in a marked content with the name of hidden layers."""
    name, size = create_string_buffer(LONGEST_NAME), c_ulong()
    room = (FPDF_WCHAR * (LONGEST_NAME // 2)).from_buffer(name)
    expected = HIDDEN.encode("utf-16-le")
    marks = (FPDFPageObj_GetMark(shape, number) for number in range(FPDFPageObj_CountMarks(shape)))
    return any(
        FPDFPageObjMark_GetParamStringValue(mark, b"Name", room, LONGEST_NAME, byref(size))
        and name.raw[: max(size.value - 2, 0)] == expected
        for mark in marks
    )


def is_clipped(shape: Any, line: Line) -> bool:
    """Return True if no part of a line is within the clip path of its text object."""
    clip = FPDFPageObj_GetClipPath(shape)
    boxes = [_measure(clip, number) for number in range(max(FPDFClipPath_CountPaths(clip), 0))]
    if not any(box and not _contains(box, line) for box in boxes):
        return False
    left, bottom, right, top = c_float(), c_float(), c_float(), c_float()
    FPDFPageObj_GetBounds(shape, byref(left), byref(bottom), byref(right), byref(top))
    bounds = Line("", left.value, bottom.value, right.value, top.value)
    # Objects within a form have coordinates of their own, and so have their clip paths.
    shapes = [bounds, line] if _is_within(line, bounds) else [bounds]
    return any(box and any(_is_outside(found, box) for found in shapes) for box in boxes)


def _contains(box: tuple[float, float, float, float], line: Line) -> bool:
    return box[0] <= line.left and box[1] <= line.bottom and line.right <= box[2] and line.top <= box[3]


def _is_outside(line: Line, box: tuple[float, float, float, float]) -> bool:
    return line.right < box[0] or line.left > box[2] or line.top < box[1] or line.bottom > box[3]


def _is_within(line: Line, bounds: Line) -> bool:
    is_across = bounds.left - 1 <= line.left <= bounds.right + 1
    return is_across and line.bottom <= bounds.top and line.top >= bounds.bottom


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
