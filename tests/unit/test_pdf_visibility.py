"""What a viewer does not show of a PDF is not read: layers that are off, clipped text, text off the page."""

import io

import pytest

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from tests.pdfs import BOX, write_line, write_pages, write_stream

FORM = (
    "/Type /XObject /Subtype /Form /BBox [0 0 {0}] /Resources << /Font << /F1 5 0 R >> /Properties << /Off 50 0 R >> >>"
)
SECRET = write_line("SECRET", 200, 500)
OBJECTS: dict[int, str | bytes] = {
    50: "<< /Type /OCG /Name (Draft) >>",
    51: "<< /Type /OCG /Name (Draft) >>",
    52: "<< /Type /OCMD /OCGs [50 0 R 51 0 R] /P /AllOn >>",
    53: "<< /Type /OCMD /VE [/And 51 0 R [/Not [/Or 51 0 R 50 0 R]]] >>",
    54: "<< /Type /OCMD /OCGs [50 0 R 51 0 R] >>",
    55: "<< /Type /OCMD /OCGs 51 0 R /P /AllOff >>",
    60: write_stream(SECRET, FORM.format("595 842")),
    61: write_stream(SECRET, FORM.format("595 842") + " /OC 50 0 R"),
    62: write_stream("/OC /Off BDC " + SECRET + " EMC", FORM.format("595 842")),
    56: "<< /Type /OCMD /OCGs [50 0 R 51 0 R] /P /AnyOff >>",
    63: write_stream(SECRET + "q 0 0 30 20 re W n " + write_line("In a form", 5, 5) + " Q", FORM.format("100 50")),
    64: write_stream(
        "/Form BMC /X0 Do EMC", FORM.format("595 842").replace("/Font", "/XObject << /X0 60 0 R >> /Font")
    ),
    100: "<< /Type /Annot /Subtype /FreeText /Rect [72 600 300 620] /Contents (SECRET) /OC 50 0 R >>",
}
LAYERS = "/OCProperties << /OCGs [50 0 R 51 0 R] /D << /OFF [50 0 R] >> >>"
BASE_OFF = "/OCProperties << /OCGs [50 0 R 51 0 R] /D << /BaseState /OFF /ON [51 0 R] >> >>"


def read(content: str, *, catalog: str = LAYERS, crop: str = BOX) -> str:
    properties = " ".join(f"/P{number} {number} 0 R" for number in range(50, 57))
    forms = " ".join(f"/X{number} {number} 0 R" for number in range(60, 65))
    page = (
        f"<< /Type /Page /Parent 2 0 R /MediaBox {BOX} /CropBox {crop} /Contents 1000 0 R /Annots [100 0 R] "
        f"/Resources << /Font << /F1 5 0 R >> /Properties << {properties} >> /XObject << {forms} >> >> >>"
    )
    data = write_pages([write_line("Shown", 72, 700) + content], catalog=catalog, more={**OBJECTS, 20: page})
    [found] = get_format("application/pdf").readers[0](SourceFile(io.BytesIO(data))).pages
    return "".join(found.sections)


HIDDEN = {
    "above the page": write_line("OFFPAGE slug", 72, 900),
    "below the page": write_line("OFFPAGE slug", 72, -40),
    "left of the page": write_line("OFFPAGE slug", -300, 500),
    "invisible size": write_line("SECRET", 72, 500, 0.01),
    "clipped": "q 0 0 50 50 re W n " + SECRET + " Q",
    "clipped by two": "q 0 0 500 800 re W n 0 0 50 50 re W n " + SECRET + " Q",
    "layer off": "/OC /P50 BDC " + SECRET + " EMC",
    "layer within a layer that is off": "/OC /P50 BDC /OC /P51 BDC " + SECRET + " EMC EMC",
    "one of two layers off": "/OC /P52 BDC " + SECRET + " EMC",
    "expression": "/OC /P53 BDC " + SECRET + " EMC",
    "shown if a layer is off": "/OC /P55 BDC " + SECRET + " EMC",
    "form of a layer": "/X61 Do",
    "form drawn in a layer": "/OC /P50 BDC /X60 Do EMC",
    "form in a form drawn in a layer": "/OC /P50 BDC /X64 Do EMC",
    "layer in a form": "/X62 Do",
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_is_not_shown_is_not_read(kind: str) -> None:
    assert read(HIDDEN[kind]) == "Shown"


SEEN = {
    "within the clip path": "q 0 0 500 800 re W n " + write_line("Seen", 72, 500) + " Q",
    "recognised text of a scan": "3 Tr " + write_line("Seen", 72, 500),
    "layer of the same name": "/OC /P51 BDC " + write_line("Seen", 72, 500) + " EMC",
    "one of two layers on": "/OC /P54 BDC " + write_line("Seen", 72, 500) + " EMC",
    "shown if one of two layers is off": "/OC /P56 BDC " + write_line("Seen", 72, 500) + " EMC",
    "beside a hidden layer": "/OC /P50 BDC " + SECRET + " EMC " + write_line("Seen", 72, 400),
}


@pytest.mark.parametrize("kind", SEEN)
def test_what_is_shown_is_read(kind: str) -> None:
    assert read(SEEN[kind]) == "Shown\nSeen"


def test_layers_are_off_unless_the_document_says_otherwise() -> None:
    assert read(HIDDEN["layer off"] + SEEN["layer of the same name"], catalog=BASE_OFF) == "Shown\nSeen"


def test_text_of_a_form_that_is_placed_elsewhere_is_read_unless_it_is_outside_of_the_form() -> None:
    """Objects within a form have coordinates of their own, and so have their clip paths."""
    assert read("q 1 0 0 1 300 400 cm /X63 Do Q") == "Shown\nIn a form"


def test_line_that_ends_outside_of_the_page_is_read_up_to_its_edge() -> None:
    line = write_line("Left page", 72, 500) + write_line("RIGHT PAGE", 350, 500)
    assert read(line, crop="[0 0 297 842]") == "Shown\nLeft page"
