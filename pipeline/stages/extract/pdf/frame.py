"""The direction in which a page is read: text may run up, down or upside down, and from right to left."""

import re
from dataclasses import dataclass

from pipeline.stages.extract.pdf.marks import Box

RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
"""Letters of Hebrew, Arabic and related scripts."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinates in which the text of a page runs from left to right, and its lines from top to bottom."""

    quarters: int = 0
    """How many times the page is turned by 90 degrees, clockwise."""
    is_mirrored: bool = False
    """True if the text is written from right to left."""

    def place(self, box: Box) -> Box:
        """Return a box of the page in these coordinates."""
        box = _turn(box, self.quarters)
        return _mirror(box) if self.is_mirrored else box

    def restore(self, box: Box) -> Box:
        """Return a box in these coordinates as one of the page."""
        return _turn(_mirror(box) if self.is_mirrored else box, -self.quarters % 4)


def is_right_to_left(text: str) -> bool:
    """Return True if most letters are written from right to left."""
    return RIGHT_TO_LEFT.search(text) is not None and 2 * len(RIGHT_TO_LEFT.findall(text)) > sum(map(str.isalpha, text))


def _turn(box: Box, quarters: int) -> Box:
    for _ in range(quarters):
        left, bottom, right, top = box
        box = bottom, -right, top, -left
    return box


def _mirror(box: Box) -> Box:
    left, bottom, right, top = box
    return -right, bottom, -left, top
