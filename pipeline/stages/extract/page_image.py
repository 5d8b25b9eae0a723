"""Draw a page of a PDF as an image, with a passage highlighted."""

from io import BytesIO
from typing import BinaryIO

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngImageFile
from pypdfium2 import PdfBitmap, PdfPage, PdfTextPage
from pypdfium2.raw import FPDFText_GetUnicode

from pipeline.stages.extract.format import Mark, keep_letters
from pipeline.stages.extract.pdf.page_list import load_page_to_draw, open_to_draw
from pipeline.stages.extract.pdf.readability import restore_symbols

WIDTH = 1000
"""Width of a page image, in pixels."""
MAX_HEIGHT = 4000
"""Greatest height of a page image, in pixels. A longer page is drawn narrower than `WIDTH`."""
YELLOW = (255, 225, 0)
OPACITY = 102
"""Opacity of the highlight, from 0 to 255. Black on white and white on black both stay readable."""
SHORTEST_PART = 8
"""Smallest number of letters that are marked apart from the rest of a mark, unless the mark itself is shorter."""
MARGIN = 2
"""Margin of the highlight around the letters, in pixels."""

# Load the PNG plugin with this module, so that a forked child need not import it.
Image.register_open(PngImageFile.format, PngImageFile)


def draw(file: BinaryIO, number: int, mark: Mark | None) -> bytes:
    """Return page `number`, counted from 1, as a PNG 1,000 pixels wide. A mark that is not on the page is ignored.

    Raises PdfiumError or IndexError if PDFium cannot load the page.
    """
    with open_to_draw(file) as document:
        page = load_page_to_draw(document, number - 1)
        width, height = page.get_size()
        bitmap = page.render(scale=min(WIDTH / width, MAX_HEIGHT / height), may_draw_forms=True)
        image = bitmap.to_pil()
        if mark:
            _highlight(image, bitmap, page, mark)
    output = BytesIO()
    image.save(output, "PNG")
    return output.getvalue()


def _highlight(image: Image.Image, bitmap: PdfBitmap, page: PdfPage, mark: Mark) -> None:
    text = page.get_textpage()
    converter = bitmap.get_posconv(page)
    mask = Image.new("L", image.size)
    drawing = ImageDraw.Draw(mask)
    for first, count in _find(text, mark):
        for index in range(text.count_rects(first, count)):
            left, bottom, right, top = text.get_rect(index)
            # Sort the coordinates: on a rotated page, the left edge may be at the top of the image.
            xs, ys = zip(converter.to_bitmap(left, bottom), converter.to_bitmap(right, top), strict=True)
            drawing.rectangle((min(xs) - MARGIN, min(ys) - MARGIN, max(xs) + MARGIN, max(ys) + MARGIN), fill=OPACITY)
    image.paste(YELLOW, mask=mask)


def _find(text: PdfTextPage, mark: Mark) -> list[tuple[int, int]]:
    """Return where the parts of the mark are on the page: the index of the first character, and their number."""
    characters = "".join(chr(FPDFText_GetUnicode(text, index)) for index in range(text.count_chars()))
    letters: list[str] = []
    character_of: list[int] = []
    for index, character in enumerate(restore_symbols(characters)):
        found = keep_letters(character)
        letters.append(found)
        character_of += [index] * len(found)
    places = _find_parts("".join(letters), mark.letters, mark.before)
    return [(character_of[at], character_of[at + length - 1] - character_of[at] + 1) for at, length in places]


def _find_parts(text: str, wanted: str, expected: int) -> list[tuple[int, int]]:
    """Return where the text has the wanted letters, in as few parts as possible: positions and lengths.

    The text is in the order of drawing, while the wanted letters are in reading order. What is typed into a page is not
    in the text.
    """
    parts: list[tuple[int, int]] = []
    at = 0
    while at < len(wanted):
        length = _measure_common(text, wanted, at)
        if length:
            parts.append((_find_nearest(text, wanted[at : at + length], expected + at), length))
        at += length or 1
    return parts


def _measure_common(text: str, wanted: str, at: int) -> int:
    """Return how many letters from `at` are in the text together, or 0 if these are too few to be sure."""
    left = len(wanted) - at
    low, high = min(len(wanted), SHORTEST_PART), left
    if left < low or wanted[at : at + low] not in text:
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        if wanted[at : at + middle] in text:
            low = middle
        else:
            high = middle - 1
    return low


def _find_nearest(text: str, wanted: str, expected: int) -> int:
    """Return the position of `wanted` in the text that is nearest to `expected`. The text has it."""
    before, after = text.rfind(wanted, 0, expected + len(wanted)), text.find(wanted, expected)
    if before < 0 or after < 0:
        return max(before, after)
    return before if expected - before < after - expected else after
