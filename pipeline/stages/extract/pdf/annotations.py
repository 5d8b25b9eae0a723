"""Annotations of a page: values of form fields, notes and stamps, attached files, and words of their appearances."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, cast, create_string_buffer
from dataclasses import dataclass, field
from typing import Any

from pypdfium2 import PdfDocument, PdfPage
from pypdfium2.raw import (
    FLAT_NORMALDISPLAY,
    FPDF_ANNOT_FILEATTACHMENT,
    FPDF_ANNOT_FLAG_HIDDEN,
    FPDF_ANNOT_FLAG_NOVIEW,
    FPDF_ANNOT_FREETEXT,
    FPDF_ANNOT_LINK,
    FPDF_ANNOT_POPUP,
    FPDF_ANNOT_STAMP,
    FPDF_ANNOT_WIDGET,
    FPDF_FORMFIELD_CHECKBOX,
    FPDF_FORMFIELD_COMBOBOX,
    FPDF_FORMFIELD_LISTBOX,
    FPDF_FORMFIELD_RADIOBUTTON,
    FPDF_FORMFIELD_TEXTFIELD,
    FPDF_FORMFIELD_UNKNOWN,
    FPDF_PAGEOBJ_FORM,
    FPDF_PAGEOBJ_TEXT,
    FPDF_WCHAR,
    FS_RECTF,
    FPDFAnnot_GetFileAttachment,
    FPDFAnnot_GetFlags,
    FPDFAnnot_GetFormFieldFlags,
    FPDFAnnot_GetFormFieldType,
    FPDFAnnot_GetFormFieldValue,
    FPDFAnnot_GetObject,
    FPDFAnnot_GetObjectCount,
    FPDFAnnot_GetOptionCount,
    FPDFAnnot_GetOptionLabel,
    FPDFAnnot_GetRect,
    FPDFAnnot_GetStringValue,
    FPDFAnnot_GetSubtype,
    FPDFAnnot_IsOptionSelected,
    FPDFAnnot_SetFlags,
    FPDFPage_CloseAnnot,
    FPDFPage_Flatten,
    FPDFPage_GetAnnot,
    FPDFPage_GetAnnotCount,
    FPDFPageObj_GetType,
)

from pipeline.stages.extract.pdf.page_text import Typed

MAX_ANNOTATIONS = 5_000
"""Largest number of annotations of a page that are read."""
MAX_OPTIONS = 1_000
"""Largest number of options of a field that are looked at."""
LONGEST_VALUE = 200_000
"""Longest value that is read, in bytes of UTF-16. A longer one is cut."""
MAX_SHAPES = 100
"""Largest number of shapes in the appearance of an annotation that are searched for text."""
HIDDEN = FPDF_ANNOT_FLAG_HIDDEN | FPDF_ANNOT_FLAG_NOVIEW
WORDLESS = frozenset({FPDF_ANNOT_LINK, FPDF_ANNOT_POPUP})
WITH_WORDS = frozenset({FPDF_PAGEOBJ_TEXT, FPDF_PAGEOBJ_FORM})
PASSWORD_FIELD = 1 << 13
CHECKED = "☒"
STAMPS = frozenset(
    {"Approved", "AsIs", "Confidential", "Departmental", "Draft", "Experimental", "Expired", "Final", "ForComment"}
    | {"ForPublicRelease", "NotApproved", "NotForPublicRelease", "Sold", "TopSecret"}
)
"""Names of the stamps that viewers draw by themselves (ISO 32000, table 184)."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the annotations of a page hold."""

    typed: list[Typed] = field(default_factory=list)
    files: list[Any] = field(default_factory=list)
    """Files attached to the page, as handles of PDFium. They become invalid when the page is changed."""
    others: list[int] = field(default_factory=list)
    """Numbers of those whose words are only in their appearance."""


def read_annotations(document: PdfDocument, page: PdfPage) -> Annotations:
    """Return what the annotations of a page hold. The values of fields need `document.init_forms()`."""
    found = Annotations()
    for number in range(min(FPDFPage_GetAnnotCount(page), MAX_ANNOTATIONS)):
        with _open(page, number) as annotation:
            typed = list(_read(document, annotation))
            found.typed.extend(typed)
            if FPDFAnnot_GetSubtype(annotation) == FPDF_ANNOT_FILEATTACHMENT:
                found.files.extend(filter(None, [FPDFAnnot_GetFileAttachment(annotation)]))
            elif not typed and _has_words(annotation):
                found.others.append(number)
    return found


def draw_appearances(page: PdfPage, numbers: Sequence[int]) -> None:
    """Make the appearances of some annotations part of the page. It must be opened again."""
    shown = frozenset(numbers)
    for number in range(FPDFPage_GetAnnotCount(page)):
        if number not in shown:
            with _open(page, number) as annotation:
                FPDFAnnot_SetFlags(annotation, FPDF_ANNOT_FLAG_HIDDEN)
    FPDFPage_Flatten(page, FLAT_NORMALDISPLAY)


@contextmanager
def _open(page: PdfPage, number: int) -> Iterator[Any]:
    annotation = FPDFPage_GetAnnot(page, number)
    try:
        yield annotation
    finally:
        FPDFPage_CloseAnnot(annotation)


def _has_words(annotation: Any) -> bool:
    """Return True if the appearance of an annotation may show words."""
    if FPDFAnnot_GetSubtype(annotation) in WORDLESS or FPDFAnnot_GetFlags(annotation) & HIDDEN:
        return False
    shapes = range(min(FPDFAnnot_GetObjectCount(annotation), MAX_SHAPES))
    return any(FPDFPageObj_GetType(FPDFAnnot_GetObject(annotation, number)) in WITH_WORDS for number in shapes)


def _read(document: PdfDocument, annotation: Any) -> Iterator[Typed]:
    kind = FPDFAnnot_GetSubtype(annotation)
    if FPDFAnnot_GetFlags(annotation) & HIDDEN or kind in WORDLESS:
        return
    if kind == FPDF_ANNOT_WIDGET:
        text = _read_field(document.formenv, annotation)
    else:
        text = _read_string(annotation, b"Contents") or (_read_stamp(annotation) if kind == FPDF_ANNOT_STAMP else "")
    text = " ".join(text.split())
    if text:
        is_note = kind not in (FPDF_ANNOT_WIDGET, FPDF_ANNOT_FREETEXT, FPDF_ANNOT_STAMP)
        place = FS_RECTF()
        FPDFAnnot_GetRect(annotation, byref(place))
        yield Typed(text, (place.left, place.bottom, place.right, place.top), is_note)


def _read_stamp(annotation: Any) -> str:
    name = _read_string(annotation, b"Name").removeprefix("SB").removeprefix("SH")
    return name if name in STAMPS else ""


def _read_field(form: Any, annotation: Any) -> str:
    match FPDFAnnot_GetFormFieldType(form, annotation) if form else FPDF_FORMFIELD_UNKNOWN:
        case kind if kind in (FPDF_FORMFIELD_CHECKBOX, FPDF_FORMFIELD_RADIOBUTTON):
            state = _read_string(annotation, b"AS") or _read_value(form, annotation)
            return "" if state in ("", "Off") else CHECKED
        case kind if kind in (FPDF_FORMFIELD_COMBOBOX, FPDF_FORMFIELD_LISTBOX):
            return _read_choice(form, annotation) or _read_value(form, annotation)
        case kind if kind == FPDF_FORMFIELD_TEXTFIELD:
            is_secret = FPDFAnnot_GetFormFieldFlags(form, annotation) & PASSWORD_FIELD
            return "" if is_secret else _read_value(form, annotation)
        case kind if kind <= FPDF_FORMFIELD_UNKNOWN and _read_string(annotation, b"FT") == "Tx":
            return _read_string(annotation, b"V")  # The form of the document does not list the field.
    return ""


def _read_choice(form: Any, annotation: Any) -> str:
    """Return the labels of the options that are chosen."""
    options = range(min(max(FPDFAnnot_GetOptionCount(form, annotation), 0), MAX_OPTIONS))
    chosen = [number for number in options if FPDFAnnot_IsOptionSelected(form, annotation, number)]
    return ", ".join(
        _decode(lambda room, size, number=number: FPDFAnnot_GetOptionLabel(form, annotation, number, room, size))
        for number in chosen
    )


def _read_value(form: Any, annotation: Any) -> str:
    return _decode(lambda room, size: FPDFAnnot_GetFormFieldValue(form, annotation, room, size))


def _read_string(annotation: Any, key: bytes) -> str:
    return _decode(lambda room, size: FPDFAnnot_GetStringValue(annotation, key, room, size))


def _decode(get: Any) -> str:
    """Return the text that a function of PDFium writes, in UTF-16 with a NUL at its end."""
    size = get(None, 0)
    if not 2 < size <= LONGEST_VALUE:
        return ""
    room = create_string_buffer(size)
    get(cast(room, POINTER(FPDF_WCHAR)), size)
    return room.raw[: size - 2].decode("utf-16-le", "replace")
