"""What is typed into a PDF is in the text of its page, at its place, and in the image of the page."""

import io
import time

import pytest
from fpdf import FPDF
from PIL import Image, ImageChops
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import FreeText
from pypdf.annotations import Text as StickyNote

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from tests.pdfs import write_fields, write_line, write_pages, write_stream

LABEL = write_line("Name of the tenant:", y=700)
PLACE = "/Rect [200 696 400 714]"
APPEARANCE = write_stream(
    "/Tx BMC q BT /F1 11 Tf 2 4 Td (Alma Reyes) Tj ET Q EMC",
    "/Type /XObject /Subtype /Form /BBox [0 0 200 18] /Resources << /Font << /F1 5 0 R >> >>",
)


def read(data: bytes) -> str:
    [page] = get_format("application/pdf").readers[0](SourceFile(io.BytesIO(data))).pages
    return "".join(page.sections)


def draw(data: bytes) -> Image.Image:
    make = get_format("application/pdf").draw
    assert make
    return Image.open(io.BytesIO(make(io.BytesIO(data), 1, None))).convert("L")


def has_ink(data: bytes, empty: bytes) -> bool:
    """Return True if the images of both files differ by something dark."""
    box = ImageChops.difference(draw(data), draw(empty)).point(lambda value: 255 if value > 128 else 0).getbbox()
    return box is not None


TEXT = f"/FT /Tx /T (name) {PLACE}"
FILLED = {
    "appearance": write_fields([f"{TEXT} /V (Alma Reyes) /AP << /N 50 0 R >>"], LABEL, more={50: APPEARANCE}),
    "no appearance": write_fields([f"{TEXT} /V (Alma Reyes)"], LABEL, form="/NeedAppearances true"),
    "UTF-16": write_fields([f"{TEXT} /V <{'Alma Reyes'.encode('utf-16').hex()}>".replace("fffe", "fffe")], LABEL),
    "value of the parent": write_fields(
        [f"/Parent 60 0 R {PLACE}"], LABEL, more={60: "<< /FT /Tx /T (name) /V (Alma Reyes) /Kids [100 0 R] >>"}
    ),
    "choice with a label": write_fields(
        [f"/FT /Ch /Ff 131072 /T (name) {PLACE} /Opt [[(a) (Alma Reyes)] [(b) (Bo)]] /V (a)"], LABEL
    ),
    "list": write_fields([f"/FT /Ch /T (name) {PLACE} /Opt [(Bo) (Alma Reyes)] /V (Alma Reyes)"], LABEL),
}


@pytest.mark.parametrize("kind", FILLED)
def test_value_of_a_field_stands_beside_its_label(kind: str) -> None:
    assert read(FILLED[kind]) == "Name of the tenant: Alma Reyes"


@pytest.mark.parametrize("kind", ["appearance", "no appearance"])
def test_value_of_a_field_is_drawn(kind: str) -> None:
    assert has_ink(FILLED[kind], write_fields([TEXT], LABEL))


def test_values_go_between_the_labels_of_their_line() -> None:
    labels = write_line("Name:", 72, 700) + write_line("Born:", 300, 700) + write_line("Signed below.", 72, 650)
    fields = [
        "/FT /Tx /T (born) /V (3 May) /Rect [340 696 420 712]",
        "/FT /Tx /T (name) /V (Alma) /Rect [110 696 200 712]",
    ]
    assert read(write_fields(fields, labels)) == "Name: Alma Born: 3 May\nSigned below."


def test_value_without_a_label_goes_to_its_place() -> None:
    lines = write_line("Above", y=700) + write_line("Below", y=500)
    assert read(write_fields(["/FT /Tx /T (x) /V (Between) /Rect [72 600 300 620]"], lines)) == "Above\nBetween\nBelow"


BOX = "/Rect [72 696 84 708]"
STATES = "/AP << /N << /Yes 50 0 R /Off 51 0 R >> >>"
BUTTONS = {
    "checked": (f"/FT /Btn /T (b) {BOX} /V /Yes /AS /Yes {STATES}", "☒ Pets"),
    "not checked": (f"/FT /Btn /T (b) {BOX} /V /Off /AS /Off {STATES}", "Pets"),
    "radio": (f"/FT /Btn /Ff 32768 /T (b) {BOX} /V /Yes /AS /Yes {STATES}", "☒ Pets"),
    "push button": (f"/FT /Btn /Ff 65536 /T (b) {BOX} /MK << /CA (Send) >>", "Pets"),
    "hidden": (f"/FT /Tx /T (b) {BOX} /V (secret) /F 2", "Pets"),
    "password": (f"/FT /Tx /Ff 8192 /T (b) {BOX} /V (secret)", "Pets"),
}


@pytest.mark.parametrize("kind", BUTTONS)
def test_marks_of_buttons(kind: str) -> None:
    field, expected = BUTTONS[kind]
    states = {number: write_stream("", "/Type /XObject /Subtype /Form /BBox [0 0 12 12]") for number in (50, 51)}
    data = write_fields([field], write_line("Pets", 90, 698), more=states)
    if kind == "hidden":
        data = data.replace(b"/F 4 ", b"    ", 1)
    assert read(data) == expected


def annotate(annotation: str) -> bytes:
    lines = write_line("Above the lock", y=700) + write_line("Below the lock", y=500)
    note = f"<< /Type /Annot /Rect [72 600 300 620] {annotation} >>"
    return write_pages([lines], page="/Annots [100 0 R]", more={100: note})


ANNOTATIONS = {
    "free text": "/Subtype /FreeText /DA (/F1 11 Tf) /Contents (Grease it)",
    "note": "/Subtype /Text /Contents (Grease it)",
    "highlight with a comment": "/Subtype /Highlight /QuadPoints [72 620 300 620 72 600 300 600] /Contents (Grease it)",
    "stamp": "/Subtype /Stamp /Name /SBx /Contents (Grease it)",
    "several lines": "/Subtype /FreeText /Contents (Grease\\n it)",
}


@pytest.mark.parametrize("kind", ANNOTATIONS)
def test_annotation_is_read_at_its_place(kind: str) -> None:
    assert read(annotate(ANNOTATIONS[kind])) == "Above the lock\nGrease it\nBelow the lock"


def test_annotations_that_are_left_out() -> None:
    text = "Above the lock\nBelow the lock"
    assert read(annotate("/Subtype /Highlight /Contents (above the lock)")) == text, "it repeats what it marks"
    assert read(annotate("/Subtype /Popup /Contents (Grease it)")) == text
    assert read(annotate("/Subtype /Link /Contents (Grease it)")) == text
    assert read(annotate("/Subtype /FreeText /F 2 /Contents (Grease it)")) == text
    assert read(annotate("/Subtype /Stamp /Name /Approved")) == "Above the lock\nApproved\nBelow the lock"


def test_annotations_of_pypdf() -> None:
    document = FPDF()
    document.add_page()
    document.set_font("Helvetica", size=12)
    document.cell(text="The lock opens at six.")
    writer = PdfWriter(PdfReader(io.BytesIO(bytes(document.output()))))
    writer.add_annotation(0, FreeText(text="From Easter on.", rect=(60, 600, 300, 620)))
    writer.add_annotation(0, StickyNote(text="Ask the keeper.", rect=(60, 500, 80, 520)))
    file = io.BytesIO()
    writer.write(file)
    assert read(file.getvalue()) == "The lock opens at six.\nFrom Easter on.\nAsk the keeper."
    assert has_ink(file.getvalue(), bytes(document.output()))


def test_form_without_a_page_text_is_read() -> None:
    assert read(write_fields([f"{TEXT} /V (Alma Reyes)"])) == "Alma Reyes"


WORDS = write_stream(
    "BT /F1 11 Tf 2 4 Td (Seen by Alma) Tj ET",
    "/Type /XObject /Subtype /Form /BBox [0 0 228 20] /Resources << /Font << /F1 5 0 R >> >>",
)


@pytest.mark.parametrize("kind", ["Stamp", "FreeText", "Watermark", "Widget /FT /Sig", "Widget /FT /Tx", "Unknown"])
def test_words_of_an_appearance_are_read_at_their_place(kind: str) -> None:
    lines = write_line("Above the lock", y=700) + write_line("Below the lock", y=500)
    notes = {
        100: f"<< /Type /Annot /Rect [72 600 300 620] /F 4 /Subtype /{kind} /AP << /N 50 0 R >> >>",
        101: "<< /Type /Annot /Rect [72 550 300 570] /Subtype /Text /Contents (A note) /AP << /N 50 0 R >> >>",
        102: "<< /Type /Annot /Rect [72 540 300 550] /F 2 /Subtype /Stamp /AP << /N 50 0 R >> >>",
    }
    data = write_pages([lines], page="/Annots [100 0 R 101 0 R 102 0 R]", more={**notes, 50: WORDS})
    assert read(data) == "Above the lock\nSeen by Alma\nA note\nBelow the lock"


def test_field_that_the_form_does_not_list_is_read() -> None:
    field = f"<< /Type /Annot /Subtype /Widget {TEXT} /V (Alma Reyes) >>"
    assert read(write_pages([LABEL], page="/Annots [100 0 R]", more={100: field})) == "Name of the tenant: Alma Reyes"


def test_many_fields_of_one_name_take_linear_time() -> None:
    """PDFium makes appearances for them in quadratic time: 7 seconds for 10,000 fields."""
    data = write_fields([f"/FT /Tx /T (name) /V (value) {PLACE}"] * 10_000, LABEL)
    begin = time.process_time()
    assert read(data).count("value") == 5_000
    draw(data)
    assert time.process_time() - begin < 5
