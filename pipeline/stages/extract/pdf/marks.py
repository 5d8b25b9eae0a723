"""Marks that are drawn apart: accents as TeX sets them, raised digits after a number, and letters that are set wide."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import median
from unicodedata import normalize

Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in points."""

ACCENTS = {
    "\u00a8": "\u0308", "\u00b4": "\u0301", "\u0060": "\u0300", "\u02cb": "\u0300", "\u02ca": "\u0301",
    "\u005e": "\u0302", "\u02c6": "\u0302", "\u007e": "\u0303", "\u02dc": "\u0303", "\u02c7": "\u030c",
    "\u02d8": "\u0306", "\u02da": "\u030a", "\u00b0": "\u030a", "\u00b8": "\u0327", "\u02db": "\u0328",
    "\u02d9": "\u0307", "\u02dd": "\u030b", "\u00af": "\u0304", "\u02c9": "\u0304",
}  # fmt: skip
"""Combining accents, by the accents with a width of their own that fonts of TeX have."""
ACCENT = re.compile(f"[{re.escape(''.join(ACCENTS))}]")
NUMBER = re.compile(r"\d{2,}+(?![.,]\d)")
RAISED_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MAX_HEIGHT = 0.85
"""Height of a raised digit, as a share of the height of the digit before it."""
MIN_RISE = 0.15
"""How far the bottom of a raised digit is above that of the digit before it, as a share of its height."""
SPACED = re.compile(r"(?<!\S)(?:[^\W\d_] ){4,}[^\W\d_](?!\S)")
"""Single letters with spaces between them: a heading that is set wide, or cells of a table."""
MAX_SPACING = 0.9
"""Largest gap between letters of a word that is set wide, in heights of a letter."""
WORD_SPACING = 1.6
"""Smallest gap between words that are set wide, as a multiple of the gap between their letters."""
Edit = tuple[int, int, str]
"""The characters from one index to another, and what replaces them."""


def find_edits(text: str, get_box: Callable[[int], Box]) -> list[Edit]:
    """Return what has to be replaced in the text of a page, in order, without overlaps. Takes linear time."""
    return sorted([*_find_accents(text, get_box), *_find_raised(text, get_box), *_find_spaced(text, get_box)])


def replace_all(text: str, edits: list[Edit]) -> str:
    """Return the text with the edits made."""
    parts, at = [], 0
    for start, end, new in edits:
        if start >= at:
            parts += [text[at:start], new]
            at = end
    return "".join([*parts, text[at:]])


def _find_accents(text: str, get_box: Callable[[int], Box]) -> Iterator[Edit]:
    """An accent belongs to the letter over or under which it is drawn. That is the next one, or the one before."""
    for found in ACCENT.finditer(text):
        at, combining = found.start(), ACCENTS[found[0]]
        accent = get_box(at)
        for letter in _find_neighbours(text, at):
            composed = normalize("NFC", _add_dot(text[letter]) + combining)
            if len(composed) == 1 and _covers(get_box(letter), accent):
                yield min(at, letter), max(at, letter) + 1, composed
                break


def _find_neighbours(text: str, at: int) -> Iterator[int]:
    """Yield the index of the letter after a character and of the one before. One space may be between them."""
    for step in (1, -1):
        index = at + step
        if 0 <= index < len(text) and text[index] == " ":
            index += step
        if 0 <= index < len(text) and text[index].isalpha():
            yield index


def _add_dot(letter: str) -> str:
    return {"\u0131": "i", "\u0237": "j"}.get(letter, letter)


def _covers(letter: Box, accent: Box) -> bool:
    """Return True if the middle of an accent is over the letter, and the other way round, within a small margin."""
    margin = 0.1 * (letter[2] - letter[0])
    middle = (accent[0] + accent[2]) / 2
    is_over = letter[0] - margin <= middle <= letter[2] + margin
    return is_over and min(letter[3], accent[3]) - max(letter[1], accent[1]) > -margin


def _find_raised(text: str, get_box: Callable[[int], Box]) -> Iterator[Edit]:
    for found in NUMBER.finditer(text):
        start, end = found.span()
        if _is_raised(get_box(start), get_box(end - 1)):
            first = next(at for at in range(start + 1, end) if _is_raised(get_box(start), get_box(at)))
            yield first, end, " " + text[first:end].translate(RAISED_DIGITS)


def _is_raised(digit: Box, other: Box) -> bool:
    height = digit[3] - digit[1]
    return other[3] - other[1] < MAX_HEIGHT * height and other[1] - digit[1] > MIN_RISE * height


def _find_spaced(text: str, get_box: Callable[[int], Box]) -> Iterator[Edit]:
    """Words that are set wide are joined. The gaps between them are wider than those between their letters."""
    for found in SPACED.finditer(text):
        boxes = [get_box(index) for index in range(found.start(), found.end(), 2)]
        gaps = [after[0] - before[2] for before, after in pairwise(boxes)]
        spacing = median(gaps)
        if 0 < spacing <= MAX_SPACING * (boxes[0][3] - boxes[0][1]):
            spaces = [" " if gap >= WORD_SPACING * spacing else "" for gap in gaps]
            yield found.start(), found.end(), "".join(map("".join, zip(found[0][::2], [*spaces, ""], strict=True)))
