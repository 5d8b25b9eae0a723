"""Reading order of boxes: from top to bottom, and from left to right where they stand side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

MAX_DEPTH = 10
"""How often an area is divided. Beyond it, boxes are sorted by their corners."""
OVERLAP = 0.2
"""Share of a box, at each of its edges, that may overlap with its neighbour."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle. The unit does not matter."""

    left: int = 0
    top: int = 0
    width: int = 0
    height: int = 0

    def is_outside(self, width: int, height: int) -> bool:
        """Return True if the box lies outside a page of this size."""
        is_beside = self.left + self.width < 0 or self.left > width
        return is_beside or self.top + self.height < 0 or self.top > height


Item = TypeVar("Item")
Boxed = tuple[Box, Item]


def order(items: list[Boxed[Item]], depth: int = 0) -> list[Boxed[Item]]:
    """Return boxes in reading order. An area is divided into rows, a row into columns, a column into rows and so on.

    Boxes at the same place keep their order.
    """
    if len(items) > 1 and depth < MAX_DEPTH:
        for measure in (_measure_height, _measure_width):
            areas = _divide(items, measure)
            if len(areas) > 1:
                return [item for area in areas for item in order(area, depth + 1)]
    return sorted(items, key=lambda item: (item[0].top, item[0].left))


def _measure_height(box: Box) -> tuple[float, float]:
    margin = box.height * OVERLAP
    return box.top + margin, box.top + box.height - margin


def _measure_width(box: Box) -> tuple[float, float]:
    margin = box.width * OVERLAP
    return box.left + margin, box.left + box.width - margin


def _divide(items: list[Boxed[Item]], measure: Callable[[Box], tuple[float, float]]) -> list[list[Boxed[Item]]]:
    """Return the boxes in areas between which is a gap."""
    areas: list[list[Boxed[Item]]] = []
    end = 0.0
    for item in sorted(items, key=lambda item: measure(item[0])):
        begin, own_end = measure(item[0])
        if areas and begin <= end:
            areas[-1].append(item)
            end = max(end, own_end)
        else:
            areas.append([item])
            end = own_end
    return areas
