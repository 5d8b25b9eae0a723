"""Draw a page of a PDF as an image, with a passage highlighted."""

from io import BytesIO
from typing import BinaryIO

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngImageFile
from pypdfium2 import PdfBitmap, PdfPage, PdfTextPage
from pypdfium2.raw import FPDFText_GetUnicode

from pipeline.stages.extract.format import Mark, keep_letters
from pipeline.stages.extract.pdf.page_list import open_to_draw

WIDTH = 1000
"""Width of a page image, in pixels."""
MAX_HEIGHT = 4000
"""Greatest height of a page image, in pixels. A longer page is drawn narrower than `WIDTH`."""
YELLOW = (255, 225, 0)
OPACITY = 102
"""Opacity of the highlight, from 0 to 255. Black on white and white on black both stay readable."""
MARGIN = 2
"""Margin of the highlight around the letters, in pixels."""

# Load the PNG plugin with this module, so that a forked child need not import it.
Image.register_open(PngImageFile.format, PngImageFile)


def draw(file: BinaryIO, number: int, mark: Mark | None) -> bytes:
    """Return page `number`, counted from 1, as a PNG 1,000 pixels wide. A mark that is not on the page is ignored.

    Raises PdfiumError or IndexError if PDFium cannot load the page.
    """
    with open_to_draw(file) as document:
        page = document[number - 1]
        width, height = page.get_size()
        bitmap = page.render(scale=min(WIDTH / width, MAX_HEIGHT / height))
        image = bitmap.to_pil()
        if mark:
            _highlight(image, bitmap, page, mark)
    output = BytesIO()
    image.save(output, "PNG")
    return output.getvalue()


def _highlight(image: Image.Image, bitmap: PdfBitmap, page: PdfPage, mark: Mark) -> None:
    text = page.get_textpage()
    first, count = _find(text, mark)
    converter = bitmap.get_posconv(page)
    mask = Image.new("L", image.size)
    drawing = ImageDraw.Draw(mask)
    for index in range(text.count_rects(first, count) if count else 0):
        left, bottom, right, top = text.get_rect(index)
        # Sort the coordinates: on a rotated page, the left edge may be at the top of the image.
        xs, ys = zip(converter.to_bitmap(left, bottom), converter.to_bitmap(right, top), strict=True)
        drawing.rectangle((min(xs) - MARGIN, min(ys) - MARGIN, max(xs) + MARGIN, max(ys) + MARGIN), fill=OPACITY)
    image.paste(YELLOW, mask=mask)


def _find(text: PdfTextPage, mark: Mark) -> tuple[int, int]:
    """Return the index of the mark's first character on the page and its number of characters; 0, 0 if not found."""
    letters: list[str] = []
    character_of: list[int] = []
    for index in range(text.count_chars()):
        found = keep_letters(chr(FPDFText_GetUnicode(text, index)))
        letters.append(found)
        character_of += [index] * len(found)
    start = _find_nearest("".join(letters), mark.letters, mark.before)
    if start < 0 or not mark.letters:
        return 0, 0
    first, last = character_of[start], character_of[start + len(mark.letters) - 1]
    return first, last - first + 1


def _find_nearest(text: str, wanted: str, expected: int) -> int:
    """Return the position of `wanted` in the text that is nearest to `expected`, or -1."""
    before, after = text.rfind(wanted, 0, expected + len(wanted)), text.find(wanted, expected)
    if before < 0 or after < 0:
        return max(before, after)
    return before if expected - before < after - expected else after
