"""Files attached to a PDF are part of its text, and so are forms that only Acrobat shows."""

import io

import pytest
from pypdf import PdfReader, PdfWriter

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import ExtractedPage, SourceFile
from pipeline.types import WarningCode
from tests.pdfs import write_line, write_pages, write_stream

COVER = write_pages([write_line("Letter to the keeper")])


def read(data: bytes) -> list[ExtractedPage]:
    extraction = get_format("application/pdf").readers[0](SourceFile(io.BytesIO(data)))
    pages = list(extraction.pages)
    assert len(pages) == extraction.count
    return pages


def attach(files: dict[str, bytes], cover: bytes = COVER) -> bytes:
    writer = PdfWriter(PdfReader(io.BytesIO(cover)))
    for name, content in files.items():
        writer.add_attachment(name, content)
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


READABLE = {
    "fees.txt": (b"Barges pay twelve euros.", "Barges pay twelve euros."),
    "fees.csv": (b"boat,fee\nbarge,12\n", "boat: barge\nfee: 12"),
    "fees.html": (b"<p>Barges pay twelve euros.</p>", "Barges pay twelve euros."),
    "fees.json": (b'{"barge": 12}', "barge: 12"),
    "fees.pdf": (write_pages([write_line("Barges pay"), write_line("twelve euros.")]), "Barges pay\n\ntwelve euros."),
}


@pytest.mark.parametrize("name", READABLE)
def test_attached_file_is_read_under_its_name(name: str) -> None:
    content, text = READABLE[name]
    [page] = read(attach({name: content}))
    assert (page.sections, page.warnings) == (["Letter to the keeper\n\n", f"{name}\n{text}"], [])


def test_attached_files_come_after_the_last_page() -> None:
    cover = write_pages([write_line("one"), write_line("two")])
    first, last = read(attach({"a.txt": b"alpha", "b.txt": b"beta"}, cover))
    assert first.sections == ["one"]
    assert last.sections == ["two\n\n", "a.txt\nalpha\n\n", "b.txt\nbeta"]


UNREADABLE = {"photo.bin": b"\0\1\2", "broken.pdf": b"%PDF-1.7 nothing", "text.pdf": b"no PDF", "empty.txt": b""}


@pytest.mark.parametrize("name", UNREADABLE)
def test_attached_file_that_cannot_be_read_is_named_in_a_warning(name: str) -> None:
    [page] = read(attach({name: UNREADABLE[name]}))
    assert page.sections == ["Letter to the keeper"]
    [warning] = page.warnings
    assert warning.code == WarningCode.TEXT_NOT_EXTRACTED
    assert name in warning.message


def test_attachments_of_attachments_are_not_read() -> None:
    inner = attach({"deep.txt": b"deep"}, write_pages([write_line("inner")]))
    [page] = read(attach({"inner.pdf": inner}))
    assert page.sections == ["Letter to the keeper\n\n", "inner.pdf\ninner"]


WAIT = write_line("Please wait...") + write_line(
    "If this message is not eventually replaced by the proper contents of the document, your PDF viewer may not be able "
    "to display this type of document.",
    y=700,
)
TEMPLATE = (
    "<template xmlns='http://www.xfa.org/schema/xfa-template/3.3/'><subform>"
    "<draw><value><text>Application for a berth</text></value></draw>"
    "<field name='tenant'><caption><value><text>Tenant</text></value></caption></field>"
    "<field name='pets'><value><text>none</text></value></field></subform></template>"
)
DATASETS = (
    "<xfa:datasets xmlns:xfa='http://www.xfa.org/schema/xfa-data/1.0/'><xfa:data><form><tenant>Alma Reyes</tenant>"
    "<boat>Otter</boat></form></xfa:data></xfa:datasets>"
)


def write_xfa(template: str, datasets: str) -> bytes:
    form = "/NeedsRendering true /AcroForm << /Fields [] /XFA [(template) 8 0 R (datasets) 9 0 R] >>"
    return write_pages([WAIT], catalog=form, more={8: write_stream(template), 9: write_stream(datasets)})


def test_form_that_only_acrobat_shows_is_read_from_its_data() -> None:
    [page] = read(write_xfa(TEMPLATE, DATASETS))
    assert page.sections == ["Application for a berth\nTenant Alma Reyes\nnone\nboat: Otter"]
    assert [warning.code for warning in page.warnings] == [WarningCode.FORM_NOT_RENDERED]


BROKEN = {
    "no form": write_pages([WAIT]),
    "empty": write_xfa("<template/>", "<datasets/>"),
    "no XML": write_xfa("template", "datasets"),
    "entities": write_xfa("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<!DOCTYPE a><a/>"),
    "nothing": write_xfa("", ""),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_placeholder_without_a_form_fails_and_says_what_to_do(kind: str) -> None:
    with pytest.raises(IngestionError, match="print it to a PDF") as caught:
        read(BROKEN[kind])
    assert caught.value.failure == FailureCode.MALFORMED


def test_file_that_is_attached_to_a_page_is_read_once() -> None:
    note = "/Type /Annot /Subtype /FileAttachment /Rect [72 600 90 620] /FS 60 0 R"
    more: dict[int, str | bytes] = {
        60: "<< /Type /Filespec /F (fees.txt) /EF << /F 61 0 R >> >>",
        61: write_stream("Barges pay twelve euros.", "/Type /EmbeddedFile"),
        **dict.fromkeys((100, 101), f"<< {note} >>"),
    }
    first, last = read(write_pages([write_line("one"), write_line("two")], page="/Annots [100 0 R 101 0 R]", more=more))
    assert first.sections == ["one"]
    assert last.sections == ["two\n\n", "fees.txt\nBarges pay twelve euros."]
