"""The pages of a PDF: one list for pypdf and PDFium, for texts and images.

PDFium finds page n by the counts in the page tree. If they are wrong, or a node holds something that is not a page,
PDFium loses pages or shows one twice. The tree is then walked node by node, and both libraries get a copy with a flat
tree.
"""

import io
from collections.abc import Iterable, Iterator
from ctypes import byref
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pypdf import PageObject, PasswordType, PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject, NameObject
from pypdfium2 import PdfDocument, PdfPage
from pypdfium2.raw import FS_SIZEF, FPDF_GetPageSizeByIndexF, FPDFPage_GetAnnotCount

from pipeline.errors import FailureCode, IngestionError

MAX_CHECKED = 20_000
"""Largest number of pages that PDFium is asked for one by one. Longer documents are above the limit on pages."""
MAX_LEAVES = 100_000
"""Largest number of pages that a walk of the tree collects."""
MAX_DRAWN_FIELDS = 2_000
"""Largest number of annotations of a page for whose fields appearances are made."""
INHERITED = ("/Resources", "/MediaBox", "/CropBox", "/Rotate")
MAX_FIELDS = 50_000
"""Largest number of form fields with which a form is opened. One that is listed several times counts as often."""
MAX_EXAMINED = 5_000
"""Largest number of fields of one list that are examined for fields in them."""
MAX_FIELD_DEPTH = 32
"""Depth to which PDFium reads the fields of a form."""
CARRIED = ("/AcroForm", "/OCProperties")
"""Entries of the catalog that a copy keeps, beside its pages."""


def open_with_pypdf(content: BinaryIO) -> PdfReader:
    """Open a PDF with pypdf. An encrypted file must open with the empty password.

    Raises IngestionError if it does not, and any other exception if the file is broken.
    """
    content.seek(0)
    reader = PdfReader(content, strict=False)
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise encrypted()
    return reader


def encrypted() -> IngestionError:
    """Return the error for a file that needs a password."""
    message = "The PDF is protected by a password. Remove the password and upload the file again."
    return IngestionError(FailureCode.ENCRYPTED, message)


def open_alike(reader: PdfReader, content: BinaryIO) -> tuple[PdfReader, PdfDocument]:
    """Open a file with PDFium, too. Return both libraries' documents, which have the same pages.

    Raises PdfiumError if PDFium cannot open the file, and any other exception if pypdf cannot read its page tree.
    """
    has_form = _is_small_form(reader)
    document = open_with_pdfium(content, has_form=has_form)
    root = _get_root(reader)
    if _is_regular(root) and _loads_all(document, root):
        return reader, document
    copy = _copy_flat(reader, _find_pages(reader, root))
    return PdfReader(copy, strict=False), open_with_pdfium(copy, has_form=has_form)


def open_with_pdfium(content: BinaryIO, *, has_form: bool = True) -> PdfDocument:
    """Open a PDF with PDFium, and its form if it has one.

    Raises PdfiumError if it cannot be opened.
    """
    content.seek(0)
    document = PdfDocument(content)
    if has_form:
        document.init_forms()
    return document


def open_to_draw(content: BinaryIO) -> PdfDocument:
    """Open a file with PDFium, with the same list of pages as its text.

    Raises PdfiumError if PDFium cannot open it.
    """
    try:
        return open_alike(open_with_pypdf(content), content)[1]
    except Exception:  # noqa: BLE001 - pypdf raises any exception on broken files, which PDFium may still draw
        return open_with_pdfium(content)


def load_page(document: PdfDocument, index: int) -> PdfPage:
    """Return a page. Fields without an appearance have none: making them takes time quadratic in their number.

    Raises PdfiumError if the page cannot be loaded.
    """
    form, document.formenv = document.formenv, None
    try:
        return document[index]
    finally:
        document.formenv = form


def load_page_to_draw(document: PdfDocument, index: int) -> PdfPage:
    """Return a page on which all fields have an appearance, unless there are too many.

    Raises PdfiumError if the page cannot be loaded.
    """
    page = load_page(document, index)
    if not document.formenv or FPDFPage_GetAnnotCount(page) > MAX_DRAWN_FIELDS:
        return page
    page.close()
    return document[index]


def _is_small_form(reader: PdfReader) -> bool:
    """Return False if a form has too many fields. PDFium visits a field once for each way that leads to it."""
    form = _resolve(_resolve(reader.trailer["/Root"]).get("/AcroForm"))
    fields = _resolve(form.get("/Fields")) if isinstance(form, DictionaryObject) else None
    waiting = [(fields, 0)] if isinstance(fields, ArrayObject) else []
    count = 0
    while waiting:
        listed, depth = waiting.pop()
        count += len(listed)
        if count > MAX_FIELDS:
            return False
        for found in map(_resolve, listed[:MAX_EXAMINED]):
            kids = _get_kids(found) if isinstance(found, DictionaryObject) else None
            if kids and depth < MAX_FIELD_DEPTH:
                waiting.append((kids, depth + 1))
    return True


def _get_root(reader: PdfReader) -> DictionaryObject:
    root = _resolve(_resolve(reader.trailer["/Root"])["/Pages"])
    if not isinstance(root, DictionaryObject):
        raise TypeError("the file has no page tree")
    return root


def _resolve(value: Any) -> Any:
    return value.get_object() if isinstance(value, IndirectObject) else value


def _get_kids(node: DictionaryObject) -> ArrayObject | None:
    kids = _resolve(node.get("/Kids"))
    return kids if isinstance(kids, ArrayObject) else None


def _is_regular(root: DictionaryObject) -> bool:
    """Return True if each inner node counts the pages below it. Most pages are not parsed for this."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        kids = _get_kids(node)
        if kids is None or id(node) in seen:
            return False
        seen.add(id(node))
        ends = [_resolve(kid) for kid in (*kids[:1], *kids[-1:])]
        if node.get("/Count") == len(kids) and all(_is_page(end) for end in ends):
            continue
        found = [_resolve(kid) for kid in kids]
        inner = [kid for kid in found if isinstance(kid, DictionaryObject) and _get_kids(kid) is not None]
        pages = sum(_is_page(kid) for kid in found)
        counts = [_resolve(kid.get("/Count")) for kid in inner]
        if len(inner) + pages < len(found) or not all(isinstance(count, int) for count in counts):
            return False
        if _resolve(node.get("/Count")) != pages + sum(counts):
            return False
        waiting += inner
    return True


def _is_page(kid: Any) -> bool:
    """Return True if a node without kids is a page: its type says so, or is missing or wrong and it has a content."""
    if not isinstance(kid, DictionaryObject) or _get_kids(kid) is not None:
        return False
    kind = _resolve(kid.get("/Type", "/Page"))
    return kind == "/Page" or "/Contents" in kid or "/MediaBox" in kid


def _loads_all(document: PdfDocument, root: DictionaryObject) -> bool:
    """Return True if PDFium has as many pages as the tree counts, and finds each of them."""
    count, size = len(document), FS_SIZEF()
    if count > MAX_CHECKED:
        return True
    return count == _resolve(root.get("/Count")) and all(
        FPDF_GetPageSizeByIndexF(document, number, byref(size)) for number in range(count)
    )


@dataclass(slots=True)
class _Walk:
    """A walk of a page tree, in the order of its pages."""

    reader: PdfReader
    orphans: dict[int, list[IndirectObject]] | None = None
    seen: set[int] = field(default_factory=set)

    def walk(self, root: DictionaryObject) -> Iterator[DictionaryObject]:
        """Yield each page below a node, with the attributes that it inherits."""
        waiting: list[tuple[Any, DictionaryObject]] = [(root, DictionaryObject())]
        while waiting:
            node, inherited = waiting.pop()
            kids = _get_kids(node)
            if kids is None:
                yield DictionaryObject({**inherited, **node, NameObject("/Type"): NameObject("/Page")})
            elif id(node) not in self.seen:
                self.seen.add(id(node))
                inherited = DictionaryObject({**inherited, **{k: node.raw_get(k) for k in INHERITED if k in node}})
                found = [kid for kid in self._fill(node, kids) if isinstance(kid, DictionaryObject)]
                waiting += [(kid, inherited) for kid in reversed(found)]

    def _fill(self, node: DictionaryObject, kids: ArrayObject) -> list[Any]:
        """Return the kids of a node. An entry that is not a page becomes a page that only knows its parent."""
        found = [_resolve(kid) for kid in kids]
        is_kid = [_is_page(kid) or (isinstance(kid, DictionaryObject) and _get_kids(kid) is not None) for kid in found]
        if all(is_kid):
            return found
        orphans = iter(self._find_orphans(node))
        return [kid if known else next(orphans, None) for kid, known in zip(found, is_kid, strict=True)]

    def _find_orphans(self, node: DictionaryObject) -> list[DictionaryObject]:
        if self.orphans is None:
            self.orphans = _find_orphans(self.reader)
        reference = node.indirect_reference
        found = self.orphans.get(reference.idnum, []) if reference else []
        kids = {kid.idnum for kid in _get_kids(node) or () if isinstance(kid, IndirectObject)}
        return [_resolve(page) for page in found if page.idnum not in kids]


def _find_orphans(reader: PdfReader) -> dict[int, list[IndirectObject]]:
    """Return all page objects of a file, by the object number of the parent that they name."""
    found: dict[int, list[IndirectObject]] = {}
    numbers = {number for numbers in reader.xref.values() for number in numbers} | set(reader.xref_objStm)
    for number in sorted(numbers):
        reference = IndirectObject(number, 0, reader)
        page = _resolve(reference)
        if isinstance(page, DictionaryObject) and page.get("/Type") == "/Page":
            parent = page.raw_get("/Parent") if "/Parent" in page else None
            if isinstance(parent, IndirectObject):
                found.setdefault(parent.idnum, []).append(reference)
    return found


def _find_pages(reader: PdfReader, root: DictionaryObject) -> list[DictionaryObject]:
    pages: list[DictionaryObject] = []
    for page in _Walk(reader).walk(root):
        pages.append(page)
        if len(pages) > MAX_LEAVES:
            raise IngestionError(FailureCode.TOO_MANY_PAGES, "The PDF has too many pages. Split the document.")
    return pages


def _copy_flat(reader: PdfReader, pages: Iterable[DictionaryObject]) -> io.BytesIO:
    """Return a copy of a file with these pages, in a tree without inner nodes."""
    writer = PdfWriter()
    for found in pages:
        page = PageObject(reader)
        page.update({key: value for key, value in found.items() if key != "/Parent"})
        writer.add_page(page)
    catalog = _resolve(reader.trailer["/Root"])
    for key in CARRIED:
        if key in catalog:
            writer.root_object[NameObject(key)] = catalog[key].clone(writer)
    copy = io.BytesIO()
    writer.write(copy)
    return copy
