"""Lines of text on a page, and what tells prose from the cells of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

MIN_ROWS = 4
"""Smallest number of lines of a column of prose."""
MIN_CHARACTERS = 20
"""Smallest mean number of characters in a line of prose."""
FULL = 0.75
"""Smallest width of a line that fills its column, as a share of the width of the column."""
MOSTLY = 0.6
"""Smallest share of the lines of a column of prose that fill it."""
FOLLOWING = 0.5
"""Smallest share of the lines of a column of prose that begin within a sentence."""


@dataclass(slots=True)
class Line:
    """A line of text, or a part of one, and its box in points. The y axis points up."""

    text: str
    left: float
    bottom: float
    right: float
    top: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top, in points."""
        return self.left, self.bottom, self.right, self.top

    @property
    def middle(self) -> float:
        """Height of the middle above the bottom of the page, in points."""
        return (self.bottom + self.top) / 2

    @property
    def height(self) -> float:
        """Height of the box, at least one point."""
        return max(self.top - self.bottom, 1.0)

    def join(self, other: "Line") -> "Line":
        """Return a line with the box around both lines."""
        left, bottom = min(self.left, other.left), min(self.bottom, other.bottom)
        return Line("", left, bottom, max(self.right, other.right), max(self.top, other.top))

    def is_beside(self, other: "Line") -> bool:
        """Return True if most of the lower of both heights is common to both lines."""
        # Called for most pairs of lines of a page, so without calls of functions.
        top = self.top if self.top < other.top else other.top
        bottom = self.bottom if self.bottom > other.bottom else other.bottom
        if top <= bottom:
            return False
        height, its_height = self.top - self.bottom, other.top - other.bottom
        lower = height if height < its_height else its_height
        return top - bottom > 0.5 * (lower if lower > 1 else 1.0)


def begins_within_sentence(text: str) -> bool:
    """Return True if a text begins within a sentence: with a small letter, or one of a script without capitals."""
    first = next(filter(str.isalnum, text), "")
    return first.isalpha() and not first.isupper()


def is_prose(lines: Sequence[Line]) -> bool:
    """Return True if lines below each other are prose.

    Most of them fill their column and begin within a sentence, and they are long enough for sentences.
    """
    if len(lines) < MIN_ROWS:
        return False
    widths = sorted(line.right - line.left for line in lines)
    width = widths[len(widths) * 4 // 5]
    full = sum(found >= FULL * width for found in widths)
    following = sum(begins_within_sentence(line.text) for line in lines)
    return (
        full >= MOSTLY * len(lines)
        and following >= FOLLOWING * len(lines)
        and sum(len(line.text) for line in lines) >= MIN_CHARACTERS * len(lines)
        and has_letters(lines)
    )


def has_letters(lines: Sequence[Line]) -> bool:
    """Return True if most characters are letters."""
    return 2 * sum(sum(map(str.isalpha, line.text)) for line in lines) >= sum(len(line.text) for line in lines)
