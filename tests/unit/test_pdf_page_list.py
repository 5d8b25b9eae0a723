"""The list of pages of a PDF: pypdf and PDFium agree on it, for texts and images, whatever the page tree says."""

import io

import pytest
from PIL import Image

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from tests.pdfs import FONT, write_line, write_pdf, write_stream

BOX = "[0 0 595 200]"
"""Low, so that pages are drawn quickly."""

BIRDS = ("herons", "larks", "terns", "wrens", "finches")


def write_tree(nodes: dict[int, str], pages: dict[int, str] | None = None, gone: int = 0) -> bytes:
    """Return a PDF with five pages, objects 20 to 24, or four. Page n has a gray square of its own shade."""
    objects: dict[int, str | bytes] = {1: "<< /Type /Catalog /Pages 2 0 R >>", 5: FONT, **nodes}
    for number, bird in enumerate(BIRDS):
        entries = (pages or {}).get(20 + number, "/Type /Page /Parent 2 0 R")
        objects[20 + number] = (
            f"<< {entries} /MediaBox {BOX} /Contents {30 + number} 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
        )
        square = f"{(number + 1) / 8} g 0 0 300 300 re f 0 g "
        objects[30 + number] = write_stream(square + write_line(bird, y=40))
    return write_pdf({number: body for number, body in objects.items() if number != gone})


def read(data: bytes) -> list[str]:
    extraction = get_format("application/pdf").readers[0](SourceFile(io.BytesIO(data)))
    pages = ["".join(page.sections).strip() for page in extraction.pages]
    assert len(pages) == extraction.count
    return pages


def draw(data: bytes, page: int) -> int:
    """Return the number of the page's square in its image."""
    make = get_format("application/pdf").draw
    assert make
    image = Image.open(io.BytesIO(make(io.BytesIO(data), page, None))).convert("L")
    shade = image.getpixel((50, image.height - 50))
    assert isinstance(shade, int)
    return round(shade / 255 * 8)


LEFT = "/Type /Page /Parent 10 0 R"
FLAT = "<< /Type /Pages /Kids [20 0 R 21 0 R 22 0 R 23 0 R 24 0 R] /Count 5 >>"
TREES = {
    "regular": write_tree({2: FLAT}),
    "root counts too few": write_tree({2: FLAT.replace("/Count 5", "/Count 3")}),
    "root counts too many": write_tree({2: FLAT.replace("/Count 5", "/Count 9")}),
    "no count": write_tree({2: FLAT.replace("/Count 5", "")}),
    "a font among the pages": write_tree(
        {
            2: "<< /Type /Pages /Kids [10 0 R 11 0 R] /Count 5 >>",
            10: "<< /Type /Pages /Parent 2 0 R /Kids [20 0 R 5 0 R 21 0 R] /Count 2 >>",
            11: "<< /Type /Pages /Parent 2 0 R /Kids [22 0 R 23 0 R 24 0 R] /Count 3 >>",
        }
    ),
    "inner node counts too few": write_tree(
        {
            2: "<< /Type /Pages /Kids [10 0 R 23 0 R 24 0 R] /Count 5 >>",
            10: "<< /Type /Pages /Parent 2 0 R /Kids [20 0 R 21 0 R 22 0 R] /Count 1 >>",
        }
    ),
    "a page that calls itself a node": write_tree({2: FLAT}, {22: "/Type /Pages /Parent 2 0 R"}),
    "a null in the place of a page": write_tree({2: FLAT.replace("21 0 R", "null")}),
    "two nulls": write_tree({2: FLAT.replace("21 0 R", "null").replace("24 0 R", "null")}),
    "a node that is its own kid": write_tree(
        {
            2: "<< /Type /Pages /Kids [10 0 R 23 0 R 24 0 R] /Count 5 >>",
            10: "<< /Type /Pages /Parent 2 0 R /Kids [20 0 R 21 0 R 22 0 R 10 0 R] /Count 3 >>",
        }
    ),
}


@pytest.mark.parametrize("tree", TREES)
def test_each_page_is_read_and_drawn_once_in_its_place(tree: str) -> None:
    assert read(TREES[tree]) == list(BIRDS)
    assert [draw(TREES[tree], page) for page in range(1, 6)] == [1, 2, 3, 4, 5]


def test_page_that_is_gone_leaves_no_gap() -> None:
    data = write_tree({2: FLAT}, gone=21)
    assert read(data) == ["herons", "terns", "wrens", "finches"]
    assert [draw(data, page) for page in range(1, 5)] == [1, 3, 4, 5]


def test_inherited_attributes_are_kept_in_a_flat_copy() -> None:
    tree = "<< /Type /Pages /Kids [20 0 R 21 0 R 22 0 R 23 0 R 24 0 R] /Count 4 /Rotate 90 >>"
    make = get_format("application/pdf").draw
    assert make
    assert Image.open(io.BytesIO(make(io.BytesIO(write_tree({2: tree})), 1, None))).size == (1000, 2975)
