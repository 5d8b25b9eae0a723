"""What is typed into a page: values of form fields, and annotations with a text."""

from collections.abc import Iterator
from ctypes import POINTER, byref, cast, create_string_buffer
from typing import Any

from pypdfium2 import PdfDocument, PdfPage
from pypdfium2.raw import (
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
    FPDF_WCHAR,
    FS_RECTF,
    FPDFAnnot_GetFlags,
    FPDFAnnot_GetFormFieldFlags,
    FPDFAnnot_GetFormFieldType,
    FPDFAnnot_GetFormFieldValue,
    FPDFAnnot_GetOptionCount,
    FPDFAnnot_GetOptionLabel,
    FPDFAnnot_GetRect,
    FPDFAnnot_GetStringValue,
    FPDFAnnot_GetSubtype,
    FPDFAnnot_IsChecked,
    FPDFAnnot_IsOptionSelected,
    FPDFPage_CloseAnnot,
    FPDFPage_GetAnnot,
    FPDFPage_GetAnnotCount,
)

from pipeline.stages.extract.pdf.page_text import Typed

MAX_ANNOTATIONS = 5_000
"""Largest number of annotations of a page that are read."""
MAX_OPTIONS = 1_000
"""Largest number of options of a field that are looked at."""
LONGEST_VALUE = 200_000
"""Longest value that is read, in bytes of UTF-16. A longer one is cut."""
PASSWORD_FIELD = 1 << 13
CHECKED = "☒"
STAMPS = frozenset(
    {"Approved", "AsIs", "Confidential", "Departmental", "Draft", "Experimental", "Expired", "Final", "ForComment"}
    | {"ForPublicRelease", "NotApproved", "NotForPublicRelease", "Sold", "TopSecret"}
)
"""Names of the stamps that viewers draw by themselves (ISO 32000, table 184)."""


def read_typed(document: PdfDocument, page: PdfPage) -> list[Typed]:
    """Return what is typed into a page. The values of fields need `document.init_forms()`."""
    found: list[Typed] = []
    for number in range(min(FPDFPage_GetAnnotCount(page), MAX_ANNOTATIONS)):
        annotation = FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            found += _read(document, annotation)
        finally:
            FPDFPage_CloseAnnot(annotation)
    return found


def _read(document: PdfDocument, annotation: Any) -> Iterator[Typed]:
    kind = FPDFAnnot_GetSubtype(annotation)
    is_hidden = FPDFAnnot_GetFlags(annotation) & (FPDF_ANNOT_FLAG_HIDDEN | FPDF_ANNOT_FLAG_NOVIEW)
    if is_hidden or kind in (FPDF_ANNOT_LINK, FPDF_ANNOT_POPUP):
        return
    if kind == FPDF_ANNOT_WIDGET:
        text = _read_field(document, annotation) if document.formenv else ""
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


def _read_field(document: PdfDocument, annotation: Any) -> str:
    form = document.formenv
    match FPDFAnnot_GetFormFieldType(form, annotation):
        case kind if kind in (FPDF_FORMFIELD_CHECKBOX, FPDF_FORMFIELD_RADIOBUTTON):
            return CHECKED if FPDFAnnot_IsChecked(form, annotation) else ""
        case kind if kind in (FPDF_FORMFIELD_COMBOBOX, FPDF_FORMFIELD_LISTBOX):
            return _read_choice(form, annotation) or _read_value(form, annotation)
        case kind if kind == FPDF_FORMFIELD_TEXTFIELD:
            is_secret = FPDFAnnot_GetFormFieldFlags(form, annotation) & PASSWORD_FIELD
            return "" if is_secret else _read_value(form, annotation)
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
