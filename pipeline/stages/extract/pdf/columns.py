"""Columns of prose whose lines were drawn across all of them: gutters that hardly any line crosses.

Rows of a table are drawn in the same order. Columns of prose differ from them: most of their lines fill the column.
"""

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from pipeline.stages.extract.pdf.lines import MIN_ROWS, Line, has_letters, is_prose

GUTTER = 0.8
"""Smallest width of a gutter, in heights of a line."""
MAX_GUTTERS = 6
"""Largest number of gutters of a page."""
MAX_CROSSING = 0.7
"""Largest height of the lines that cross a gutter, as a share of the height of the lines beside it."""
ALIGNED = 0.15
"""Largest difference in height of two lines of one row, in heights of a line."""


@dataclass(frozen=True, slots=True)
class Gutter:
    """A gutter at `x`, and the box around the middles of the lines beside it, in points."""

    x: float
    left: float
    bottom: float
    right: float
    top: float

    def holds(self, line: Line) -> bool:
        """Return True if a line is in one of the columns, or in both."""
        x = (line.left + line.right) / 2
        return self.left <= x <= self.right and self.bottom <= line.middle <= self.top

    def separates(self, line: Line, other: Line) -> bool:
        """Return True if two lines are in columns on different sides of the gutter."""
        return (line.left < self.x) != (other.left < self.x) and self.holds(line) and self.holds(other)


def alternate(lines: Sequence[Line]) -> bool:
    """Return True if lines of a page go back and forth between places side by side."""
    turns = 0
    for before, line in pairwise(lines):
        turns += line.left >= before.right or line.right <= before.left
    return turns > 2 * MIN_ROWS - 3


def order_columns(lines: Sequence[Line], gutters: Sequence[Gutter]) -> list[Line]:
    """Return the lines so that those on the left of a gutter come before those on its right."""
    ordered = list(lines)
    for gutter in gutters:
        held = [number for number, line in enumerate(ordered) if gutter.holds(line)]
        columns = [ordered[number] for number in held]
        columns.sort(key=lambda line, x=gutter.x: line.left >= x)  # type: ignore[misc]  # mypy infers no default
        for number, line in zip(held, columns, strict=True):
            ordered[number] = line
    return ordered


def find_gutters(pieces: Sequence[Line]) -> list[Gutter]:
    """Return the gutters between columns of prose, the outer ones first.

    `pieces` are the parts of lines without large gaps, in the order of drawing.
    """
    waiting, found = [list(pieces)], list[Gutter]()
    while waiting and len(found) < MAX_GUTTERS:
        part = waiting.pop()
        gutter = next(_find_columns(part), None)
        if gutter is None:
            continue
        found.append(gutter)
        held = [line for line in part if gutter.holds(line)]
        waiting += [
            [line for line in part if not gutter.holds(line)],
            [line for line in held if line.left < gutter.x],
            [line for line in held if line.left >= gutter.x],
        ]
    return found


def _find_columns(pieces: list[Line]) -> Iterator[Gutter]:
    if len(pieces) < 2 * MIN_ROWS:
        return
    height = median(line.height for line in pieces)
    for x in _find_gaps(pieces, GUTTER * height):
        for zone in _cut(pieces, x):
            left, right = [line for line in zone if line.right <= x], [line for line in zone if line.left >= x]
            if _are_columns(zone, left, right, x):
                middles = [line.middle for line in zone]
                yield Gutter(
                    x, min(line.left for line in zone), min(middles), max(line.right for line in zone), max(middles)
                )


def _find_gaps(pieces: Sequence[Line], width: float) -> list[float]:
    """Return the middles of the gaps that few lines cross, those with the fewest first."""
    edges = sorted([(line.left, line.height) for line in pieces] + [(line.right, -line.height) for line in pieces])
    covered, gaps, most = 0.0, list[tuple[float, float]](), 0.0
    for (x, change), (following, _) in pairwise(edges):
        covered += change
        most = max(most, covered)
        if following - x >= width:
            gaps.append((covered, (x + following) / 2))
    return [x for covered, x in sorted(gaps)[: 2 * MAX_GUTTERS] if covered <= MAX_CROSSING * most]


def _cut(pieces: Sequence[Line], x: float) -> Iterator[list[Line]]:
    """Yield the lines between those that cross a gap, in the order of drawing."""
    crossing = sorted(line.middle for line in pieces if line.left < x < line.right)
    zones: list[list[Line]] = [[] for _ in range(len(crossing) + 1)]
    for line in pieces:
        if not line.left < x < line.right:
            zones[bisect(crossing, line.middle)].append(line)
    yield from (zone for zone in reversed(zones) if len(zone) >= 2 * MIN_ROWS)


def _are_columns(zone: Sequence[Line], left: Sequence[Line], right: Sequence[Line], x: float) -> bool:
    """Return True if lines are drawn by turns on both sides of a gutter, and are not the rows of a table."""
    turns = sum((before.right <= x) != (line.right <= x) for before, line in pairwise(zone))
    if turns < MIN_ROWS or not left or not right:
        return False
    beside = [max(row, key=lambda line: line.right) for row in _find_rows(left)]
    besides = beside, [min(row, key=lambda line: line.left) for row in _find_rows(right)]
    fewer, more = sorted(besides, key=len)
    if turns < len(fewer):
        return False
    if all(map(is_prose, besides)):
        return True
    is_apart = len(fewer) >= MIN_ROWS and _count_aligned(fewer, more) < len(fewer) / 2
    return is_apart and any(map(is_prose, besides)) and all(map(has_letters, besides))


def _find_rows(lines: Sequence[Line]) -> list[list[Line]]:
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: -line.top):
        if rows and line.is_beside(rows[-1][0]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def _count_aligned(lines: Sequence[Line], others: Sequence[Line]) -> int:
    """Return how many lines have one of the others at the same height."""
    heights = sorted(line.bottom for line in others)
    count = 0
    for line in lines:
        margin = ALIGNED * line.height
        count += bisect(heights, line.bottom - margin) < bisect(heights, line.bottom + margin)
    return count
