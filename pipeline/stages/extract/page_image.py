"""A page of a PDF as a picture, with a passage marked on it."""

from io import BytesIO
from typing import BinaryIO

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngImageFile
from pypdfium2 import PdfBitmap, PdfDocument, PdfPage, PdfTextPage
from pypdfium2.raw import FPDFText_GetUnicode

from pipeline.stages.extract.format import Mark, keep_letters

WIDTH = 1000
LONGEST = 4000
"""Highest picture, in pixels; a higher page is drawn narrower than it should be."""
YELLOW = (255, 225, 0)
OPACITY = 102
"""Of 255. Black on white and white on black can both be read through it."""
MARGIN = 2
"""Pixels of colour around the letters."""

Image.register_open(PngImageFile.format, PngImageFile)  # so that nothing looks for other formats when it is needed


def draw(file: BinaryIO, number: int, mark: Mark | None) -> bytes:
    """Return page `number` (from 1) as a PNG, 1,000 pixels wide; what cannot be found on it is not marked.

    Raises PdfiumError or IndexError where PDFium cannot load it.
    """
    with PdfDocument(file) as document:
        page = document[number - 1]
        width, height = page.get_size()
        bitmap = page.render(scale=min(WIDTH / width, LONGEST / height))
        image = bitmap.to_pil()
        if mark:
            _highlight(image, bitmap, page, mark)
    output = BytesIO()
    image.save(output, "PNG")
    return output.getvalue()


def _highlight(image: Image.Image, bitmap: PdfBitmap, page: PdfPage, mark: Mark) -> None:
    text = page.get_textpage()
    first, count = _find(text, mark)
    place = bitmap.get_posconv(page)
    mask = Image.new("L", image.size)
    drawing = ImageDraw.Draw(mask)
    for index in range(text.count_rects(first, count) if count else 0):
        left, bottom, right, top = text.get_rect(index)
        # All four corners: on a turned page left may be at the top.
        xs, ys = zip(place.to_bitmap(left, bottom), place.to_bitmap(right, top), strict=True)
        drawing.rectangle((min(xs) - MARGIN, min(ys) - MARGIN, max(xs) + MARGIN, max(ys) + MARGIN), fill=OPACITY)
    image.paste(YELLOW, mask=mask)


def _find(text: PdfTextPage, mark: Mark) -> tuple[int, int]:
    """First character of the marked text on the page, and how many they are; none where it is not there."""
    letters: list[str] = []
    origins: list[int] = []
    for index in range(text.count_chars()):
        found = keep_letters(chr(FPDFText_GetUnicode(text, index)))
        letters.append(found)
        origins += [index] * len(found)
    start = _find_nearest("".join(letters), mark.letters, mark.before)
    if start < 0 or not mark.letters:
        return 0, 0
    first, last = origins[start], origins[start + len(mark.letters) - 1]
    return first, last - first + 1


def _find_nearest(text: str, wanted: str, expected: int) -> int:
    """Where `wanted` stands in the text, as near as can be to where it is expected; -1 where it does not."""
    before, after = text.rfind(wanted, 0, expected + len(wanted)), text.find(wanted, expected)
    if before < 0 or after < 0:
        return max(before, after)
    return before if expected - before < after - expected else after
