"""PDF files for tests, written object by object, so that they can have any fault."""

from collections.abc import Mapping, Sequence

FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
BOX = "[0 0 595 842]"


def write_pdf(objects: Mapping[int, str | bytes], catalog: int = 1) -> bytes:
    """Return a PDF with these objects, by their numbers."""
    parts, length = [b"%PDF-1.7\n"], 9
    places = {}
    for number, body in objects.items():
        places[number] = length
        parts.append(b"%d 0 obj\n%b\nendobj\n" % (number, body.encode("latin-1") if isinstance(body, str) else body))
        length += len(parts[-1])
    size = max(objects) + 1
    table = [
        b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n" for number in range(size)
    ]
    trailer = b"trailer\n<< /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, catalog, length)
    return b"".join([*parts, b"xref\n0 %d\n" % size, *table, trailer])


def write_stream(content: str | bytes, entries: str = "") -> bytes:
    """Return a stream object with this content."""
    body = content.encode("latin-1") if isinstance(content, str) else content
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(body), entries.encode(), body)


def write_line(text: str, x: float = 72, y: float = 760, size: float = 11) -> str:
    """Return the operators that show one line of text."""
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /F1 {size} Tf {x} {y} Td ({escaped}) Tj ET\n"


def write_pages(
    contents: Sequence[str], *, page: str = "", catalog: str = "", more: Mapping[int, str | bytes] | None = None
) -> bytes:
    """Return a PDF with a page for each content stream. `page` and `catalog` are further entries of their objects.

    Page n is object 20 + n, and its content object 1000 + n. `more` adds objects.
    """
    kids = " ".join(f"{20 + number} 0 R" for number in range(len(contents)))
    objects: dict[int, str | bytes] = {
        1: f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>",
        5: FONT,
    }
    for number, content in enumerate(contents):
        objects[20 + number] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox {BOX} /Contents {1000 + number} 0 R "
            f"/Resources << /Font << /F1 5 0 R >> >> {page} >>"
        )
        objects[1000 + number] = write_stream(content)
    return write_pdf({**objects, **(more or {})})


def write_fields(
    fields: Sequence[str], content: str = "", *, form: str = "", more: Mapping[int, str | bytes] | None = None
) -> bytes:
    """Return a PDF of one page with these widgets: the entries of each, beside its type. `form` has further entries."""
    numbers = range(100, 100 + len(fields))
    references = " ".join(f"{number} 0 R" for number in numbers)
    widgets = {
        number: f"<< /Type /Annot /Subtype /Widget /F 4 /P 20 0 R /DA (/F1 11 Tf 0 g) {field} >>"
        for number, field in zip(numbers, fields, strict=True)
    }
    resources = "/DR << /Font << /F1 5 0 R >> >> /DA (/F1 11 Tf 0 g)"
    return write_pages(
        [content],
        page=f"/Annots [{references}]",
        catalog=f"/AcroForm << /Fields [{references}] {resources} {form} >>",
        more={**widgets, **(more or {})},
    )


def write_unicode(lines: Sequence[str]) -> bytes:
    """Return a PDF of one page in a font that maps its glyphs to these letters. Lines are drawn from left to right."""
    letters = sorted({letter for line in lines for letter in line})
    glyphs = {letter: number for number, letter in enumerate(letters, start=1)}
    pairs = "".join(f"<{glyph:04x}> <{letter.encode('utf-16-be').hex()}>\n" for letter, glyph in glyphs.items())
    mapping = (
        "/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange\n"
        f"{len(letters)} beginbfchar\n{pairs}endbfchar endcmap end"
    )
    shown = "".join(
        f"BT /F1 11 Tf 72 {780 - 20 * number} Td <{''.join(f'{glyphs[letter]:04x}' for letter in line)}> Tj ET\n"
        for number, line in enumerate(lines)
    )
    return write_pages(
        [shown],
        more={
            5: "<< /Type /Font /Subtype /Type0 /BaseFont /Sans /Encoding /Identity-H /DescendantFonts [6 0 R] /ToUnicode 8 0 R >>",
            6: "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Sans /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity)"
            " /Supplement 0 >> /FontDescriptor 7 0 R /DW 600 >>",
            7: "<< /Type /FontDescriptor /FontName /Sans /Flags 4 /FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 900"
            " /Descent -200 /CapHeight 700 /StemV 80 >>",
            8: write_stream(mapping),
        },
    )
