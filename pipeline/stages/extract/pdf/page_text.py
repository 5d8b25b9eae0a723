"""The text of one page: what PDFium finds on it, without what is not shown, in reading order."""

import re
from collections.abc import Sequence
from ctypes import byref
from dataclasses import dataclass, replace
from itertools import pairwise
from math import pi
from struct import Struct

from pypdfium2 import PdfPage, PdfTextPage
from pypdfium2.raw import FS_RECTF, FPDFText_GetCharAngle, FPDFText_GetLooseCharBox, FPDFText_GetTextObject

from pipeline.stages.extract.format import keep_letters
from pipeline.stages.extract.pdf.columns import (
    GUTTER,
    Gutter,
    alternate,
    find_gutters,
    order_columns,
)
from pipeline.stages.extract.pdf.frame import Frame, is_right_to_left
from pipeline.stages.extract.pdf.layout import arrange, is_ordered, join_rows
from pipeline.stages.extract.pdf.lines import Line, begins_within_sentence
from pipeline.stages.extract.pdf.marks import Box, Edit, find_edits, replace_all
from pipeline.stages.extract.pdf.visibility import HiddenShapes, is_clipped

MAX_LINES = 2000
"""Largest number of lines of a page that are brought in order. Pages with more stay as they were drawn."""
LONGEST_MARK = 5
"""Longest text that may be a mark in a line, such as "(a)" or "®", in characters."""
MAX_MARKS = 100
"""Largest number of marks of a page that are put into their lines."""
SMALLEST_TEXT = 0.0003
"""Smallest height of text that can be seen, as a share of the longer side of the page."""
SAMPLED_LINES = 2
"""Number of the wide lines of a page that are searched for gaps, to tell whether the page may have columns."""
LONGEST_STRING = 32_767
"""Longest string that PDFium reads, in bytes. PDFium drops the rest without an error."""
HYPHENS = "\x02\ufffe"
"""Characters that PDFium writes for a hyphen at which it joins two lines."""
HYPHENS_AT_LINE_END = str.maketrans(dict.fromkeys(HYPHENS, "-"))
RECTANGLE = Struct("4f")
"""The edges of a `FS_RECTF`: left, top, right and bottom. Reading them at once takes half the time."""
SPACE = re.compile(" +")
SPACES = re.compile("  +")
LINE = re.compile(f"[^\r\n{HYPHENS}]+[{HYPHENS}]?")


@dataclass(frozen=True, slots=True)
class Typed:
    """Text that was typed into a page: a value of a form, or an annotation. It has a place on the page, in points."""

    text: str
    box: Box
    is_note: bool = False
    """True for a note about the page, which begins a line of its own."""


@dataclass(frozen=True, slots=True)
class PageText:
    """The text of a page, whether it is likely to be right, and what of it was typed."""

    text: str
    is_sure: bool
    typed: str = ""


def read_text(page: PdfPage, typed: Sequence[Typed], hidden: HiddenShapes | None) -> PageText:
    """Return the text of a page, with what was typed into it."""
    content = page.get_textpage()
    try:
        text = content.get_text_range()
        typed = _drop_repeated(typed, text)
        if content.count_chars() != len(text) or _is_torn(text):
            return _read_as_drawn(content, text, typed)
        found = _Reader(page, content, text, hidden).read(typed)
        is_sure = bool(text.strip()) and len(text) < LONGEST_STRING
        return PageText(found, is_sure, "\n".join(part.text for part in typed))
    finally:
        content.close()


def _drop_repeated(typed: Sequence[Typed], text: str) -> Sequence[Typed]:
    """Return what was typed, without notes that only repeat the text that they mark."""
    if not any(found.is_note for found in typed):
        return typed
    letters = keep_letters(text)
    return [found for found in typed if not (found.is_note and keep_letters(found.text) in letters)]


def _is_torn(text: str) -> bool:
    """Return True if PDFium seems to take lines for columns: most lines are one letter long."""
    lines = text.count("\n")
    return lines > 10 and len(text) < 5 * lines


def _read_as_drawn(content: PdfTextPage, by_line: str, typed: Sequence[Typed]) -> PageText:
    """Read a page whose lines have no known places."""
    text = content.get_text_bounded()
    # If PDFium mistakes lines for columns, `by_line` has a line end after each letter, and `text` no spaces.
    is_orderly = len(by_line) - len(text) <= len(text) // 50
    is_sure = bool(text.strip()) and is_orderly and len(by_line) < LONGEST_STRING
    for hyphen in HYPHENS:
        text = text.replace(hyphen, "-\n")
    added = "\n".join(part.text for part in typed)
    return PageText("\n".join(filter(None, [text.replace("\r\n", "\n"), added])), is_sure, added)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Characters `start` to `end` of a page, which PDFium takes for a line, and the boxes of the first and the last."""

    start: int
    end: int
    first: Box
    last: Box


@dataclass(slots=True)
class _Span:
    """Characters `start` to `end` of a page, which are on one line."""

    start: int
    end: int
    line: Line


class _Reader:
    """Reads one page whose characters are those of its text, in the same order."""

    def __init__(self, page: PdfPage, content: PdfTextPage, text: str, hidden: HiddenShapes | None) -> None:
        self._content = content
        self._text = text
        self._shown = page.get_bbox()
        self._hidden = hidden
        left, bottom, right, top = self._shown
        self._smallest = SMALLEST_TEXT * max(right - left, top - bottom)
        self._frame: Frame | None = None
        self._rectangle = FS_RECTF()
        self._reference = byref(self._rectangle)

    def read(self, typed: Sequence[Typed]) -> str:
        """Return the text of the page, line by line."""
        drawn = self._measure_all()
        self._frame = self._find_frame(drawn)
        if self._frame:
            drawn = self._measure_all()
            typed = [replace(part, box=self._frame.place(part.box)) for part in typed]
        spans = [span for line in drawn for span in self._make_spans(line)]
        gutters = list[Gutter]()
        goes_back = any(line.last[2] < line.first[0] for line in drawn)
        if len(spans) <= MAX_LINES and (goes_back or self._may_have_columns(spans)):
            spans, gutters = self._split_at_gutters(spans)
        edits = find_edits(self._text, self._get_box)
        if len(spans) > MAX_LINES:
            return "\n".join([*(line.text for line in self._write(spans, edits)), *(part.text for part in typed)])
        marks = [] if is_ordered([span.line for span in spans]) else _take_marks(spans)
        placed = [Typed(self._text[mark.start : mark.end], mark.line.box) for mark in marks]
        alone = self._insert([*placed, *typed], spans, edits)
        lines = order_columns(self._write(spans, sorted(edits)), gutters)
        if not alone and is_ordered(lines):
            return "\n".join(join_rows(lines))
        return "\n".join(arrange([*lines, *(Line(found.text, *found.box) for found in alone)]))

    def _get_box(self, index: int) -> Box:
        FPDFText_GetLooseCharBox(self._content, index, self._reference)
        left, top, right, bottom = RECTANGLE.unpack(self._rectangle)
        return self._frame.place((left, bottom, right, top)) if self._frame else (left, bottom, right, top)

    def _measure_all(self) -> list[_Drawn]:
        found = (self._measure(*match.span()) for match in LINE.finditer(self._text))
        return [line for line in found if line]

    def _find_frame(self, drawn: Sequence[_Drawn]) -> Frame | None:
        """Return the frame of a page, or None if its text runs from left to right."""
        across = sum(line.last[0] - line.first[0] for line in drawn)
        up = sum(line.last[1] - line.first[1] for line in drawn)
        if abs(up) > sum(abs(line.last[0] - line.first[0]) for line in drawn):
            quarters = 1 if up > 0 else 3
        else:
            quarters = 2 if across < 0 and self._get_quarters(drawn[0].start) == 2 else 0
        frame = Frame(quarters, is_right_to_left(self._text))
        return None if frame == Frame() else frame

    def _get_quarters(self, index: int) -> int:
        """Return how many quarters of a turn, clockwise, let a character stand upright."""
        return -round(float(FPDFText_GetCharAngle(self._content, index)) / (pi / 2)) % 4

    def _measure(self, start: int, end: int) -> _Drawn | None:
        """Return where a line begins and ends, without the spaces around it, or None if it has nothing else."""
        text = self._text
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        return _Drawn(start, end, self._get_box(start), self._get_box(end - 1)) if start < end else None

    def _make_spans(self, drawn: _Drawn) -> list[_Span]:
        """Return the parts of a line that are shown. A line that PDFium made of parts of several lines is split."""
        first, last = drawn.first, drawn.last
        is_level = first[1] < last[3] and last[1] < first[3]
        if is_level or self._get_quarters(drawn.start) != (self._frame or Frame()).quarters:
            spans = [_Span(drawn.start, drawn.end, _make_line(first, last))]
        else:
            spans = self._split(drawn.start, drawn.end)
        left, _, right, _ = self._frame.place(self._shown) if self._frame else self._shown
        if is_level and (min(first[0], last[0]) < left or max(first[2], last[2]) > right):
            spans = self._find_pieces(spans[0])
        if self._hidden:
            spans = [part for span in spans for part in self._drop_hidden(span, self._hidden)]
        return [span for span in spans if self._is_shown(span)]

    def _drop_hidden(self, span: _Span, hidden: HiddenShapes) -> list[_Span]:
        """Return the parts of a line that belong to no hidden layer."""
        parts: list[list[int]] = [[]]
        for index in range(span.start, span.end):
            shape = FPDFText_GetTextObject(self._content, index)
            if shape and hidden.hide(shape):
                parts.append([])
            elif parts[-1] or not self._text[index].isspace():
                parts[-1].append(index)
        return [self._cut(part[0], part[-1] + 1) for part in parts if part]

    def _split(self, start: int, end: int) -> list[_Span]:
        spans: list[_Span] = []
        for index in range(start, end):
            if self._text[index].isspace():
                continue
            letter = Line("", *self._get_box(index))
            line = spans[-1].line if spans else None
            if line and line.is_beside(letter) and letter.left >= line.right - line.height:
                spans[-1].end = index + 1
                line.right = max(line.right, letter.right)
            else:
                spans.append(_Span(index, index + 1, letter))
        return spans

    def _may_have_columns(self, spans: Sequence[_Span]) -> bool:
        """Return False if a few lines prove that lines were not drawn across columns. Most pages end here."""
        following = [span for span in spans if begins_within_sentence(self._text[span.start : span.end])]
        if not following:
            return False
        width = max(span.line.right for span in spans) - min(span.line.left for span in spans)
        wide = [span for span in following if 2 * (span.line.right - span.line.left) > width]
        sample = wide[len(wide) // 4 :: len(wide) // SAMPLED_LINES + 1]
        return any(len(self._find_pieces(span)) > 1 for span in sample) or alternate([span.line for span in following])

    def _find_pieces(self, span: _Span) -> list[_Span]:
        """Return the parts of a line between gaps that may belong to a gutter."""
        gap = GUTTER * span.line.height
        spaces = SPACE.finditer(self._text, span.start, span.end)
        starts = [span.start, *(space.end() for space in spaces if self._measure_space(space) >= gap)]
        if len(starts) == 1:
            return [span]
        return [self._cut(start, end) for start, end in pairwise([*starts, span.end])]

    def _measure_space(self, space: re.Match[str]) -> float:
        """Return the width of a space. The text may go on at its left."""
        before, after = self._get_box(space.start() - 1), self._get_box(space.end())
        return max(after[0] - before[2], before[0] - after[2])

    def _cut(self, start: int, end: int) -> _Span:
        """Return a part of a line."""
        text = self._text[start:end].rstrip()
        end = start + len(text)
        (left, bottom, _, top), last = self._get_box(start), self._get_box(end - 1)
        return _Span(start, end, Line(text, min(left, last[0]), bottom, last[2], top))

    def _split_at_gutters(self, spans: Sequence[_Span]) -> tuple[list[_Span], list[Gutter]]:
        """Return the lines of a page, split where they run over the gutter between columns, and the gutters."""
        pieces = [self._find_pieces(span) for span in spans]
        for piece in (piece for found in pieces for piece in found):
            piece.line.text = self._text[piece.start : piece.end]
        gutters = find_gutters([piece.line for found in pieces for piece in found])
        if not gutters:
            return list(spans), gutters
        parts: list[_Span] = []
        for span, found in zip(spans, pieces, strict=True):
            joined = [found[0]]
            for piece in found[1:]:
                if any(gutter.separates(joined[-1].line, piece.line) for gutter in gutters):
                    joined.append(piece)
                else:
                    joined[-1] = _Span(joined[-1].start, piece.end, joined[-1].line.join(piece.line))
            parts += joined if len(joined) > 1 else [span]
        return parts, gutters

    def _is_shown(self, span: _Span) -> bool:
        """Return True if a line is on the page, in no hidden layer, and not cut away by a clip path."""
        left, bottom, right, top = self._shown
        line = Line("", *self._frame.restore(span.line.box)) if self._frame else span.line
        if line.right < left or line.left > right or line.top < bottom or line.bottom > top:
            return False
        if line.top - line.bottom < self._smallest:
            return False
        shape = FPDFText_GetTextObject(self._content, span.start)
        return not shape or not is_clipped(shape, line)

    def _insert(self, typed: Sequence[Typed], spans: Sequence[_Span], edits: list[Edit]) -> list[Typed]:
        """Add edits that insert what was typed beside a text into its line. Return what is beside no text."""
        alone = []
        for found in typed:
            place = Line(found.text, *found.box)
            beside = [span for span in spans if not found.is_note and span.line.is_beside(place)]
            if not beside:
                alone.append(found)
                continue
            span = min(beside, key=lambda span: _measure_gap(span.line, place))
            indexes = range(span.start, span.end)
            after = (
                index for index in indexes if self._get_box(index)[0] >= place.left - 1 and self._text[index] != " "
            )
            index = next(after, span.end)
            edits.append((index, index, f" {found.text} "))
        return alone

    def _write(self, spans: Sequence[_Span], edits: Sequence[Edit]) -> list[Line]:
        """Return the lines with their texts, with the edits made."""
        waiting = list(reversed(edits))
        for span in spans:
            while waiting and waiting[-1][0] < span.start:
                waiting.pop()
            own = []
            while waiting and waiting[-1][0] <= span.end and waiting[-1][1] <= span.end:
                start, end, new = waiting.pop()
                own.append((start - span.start, end - span.start, new))
            text = self._text[span.start : span.end]
            text = SPACES.sub(" ", replace_all(text, own)).strip() if own else text
            span.line.text = text.translate(HYPHENS_AT_LINE_END) if text[-1:] in HYPHENS else text
        return [span.line for span in spans]


def _take_marks(spans: list[_Span]) -> list[_Span]:
    """Take marks away from the lines of a page, and return them: a few letters that were drawn after their line."""
    found = []
    for number, span in enumerate(spans):
        is_short = span.end - span.start <= LONGEST_MARK
        near = [*spans[max(number - 1, 0) : number], *spans[number + 1 : number + 2]]
        if is_short and not any(span.line.is_beside(other.line) for other in near):
            found.append(span)
    taken = [mark for mark in found[:MAX_MARKS] if any(_is_within(mark, span) for span in spans)]
    spans[:] = [span for span in spans if span not in taken]
    return taken


def _is_within(mark: _Span, span: _Span) -> bool:
    """Return True if a mark is over a longer line, touches its end, or is right before its beginning."""
    line, place = span.line, mark.line
    is_longer = span.end - span.start > LONGEST_MARK
    is_near = is_longer and line.left - 2 * line.height <= place.left <= line.right + 0.3 * line.height
    return is_near and place.is_beside(line)


def _make_line(first: Box, last: Box) -> Line:
    return Line("", min(first[0], last[0]), min(first[1], last[1]), max(first[2], last[2]), max(first[3], last[3]))


def _measure_gap(line: Line, place: Line) -> float:
    return max(place.left - line.right, line.left - place.right, 0)
