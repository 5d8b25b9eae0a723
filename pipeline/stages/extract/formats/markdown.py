"""Markdown (CommonMark). The source is the text: headings and emphasis are readable as they are."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.stages.extract.format import Block, ExtractedPage, Extraction, Format, SourceFile, join_sections
from pipeline.stages.extract.formats.text import looks_like_text, read_lines

HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
UNDERLINE = re.compile(r" {0,3}(?:=+|-+)$")
RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*+\1){2,}+$")
MARKER = re.compile(r" {0,3}(?:>|(?:[-+*]|\d{1,9}[.)])(?=[ \t]|$))")
"""Start of a quotation or a list item."""
FENCE = re.compile(rf"((?:{MARKER.pattern}[ \t]*+)*+ {{0,3}})(`{{3,}}(?=[^`]*$)|~{{3,}})")
FENCE_INDENT = 3
INDENTED = re.compile(r" {0,3}\t| {4}")


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code fence: its backticks or tildes, and whether it is in a quotation or a list item."""

    mark: str
    is_nested: bool

    def is_closed_by(self, line: str) -> bool:
        """Return True if this line closes the code."""
        mark = line.lstrip(" >") if self.is_nested else line.lstrip(" ")
        is_near = self.is_nested or len(line) - len(mark) <= FENCE_INDENT
        return is_near and len(mark) >= len(self.mark) and not mark.strip(self.mark[0])

    def is_left_by(self, line: str) -> bool:
        """Return True if the quotation or list item, and so the code, ended before this line."""
        return self.is_nested and bool(line) and line[0] not in " \t>"


def read(file: SourceFile) -> Extraction:
    """Read a Markdown file as one page. Each heading begins a section.

    Raises IngestionError if the text encoding is unknown.
    """
    decoded = read_lines(file)
    return Extraction(1, iter([ExtractedPage(join_sections(_divide(decoded.text)), decoded.warnings)]))


def _divide(text: str) -> Iterator[Block]:
    end = 0
    for start, stop in _find_headings(text):
        yield Block(text[end:start])
        yield Block(text[start:stop], is_heading=True)
        end = stop
    yield Block(text[end:])


def _find_headings(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each heading, marked by `#` or underlined, but not in code.

    Follows CommonMark line by line and takes linear time. A full Markdown parser takes ten times as long: minutes for
    the longest text, which an attacker could send. HTML blocks and link definitions are not recognized, so a line in
    one of them may count as a heading.
    """
    fence: Fence | None = None
    paragraph: int | None = None
    is_lazy = False  # in a quotation or list item, to which lines without a marker still belong
    end = 0
    for line in io.StringIO(text):
        start, end = end, end + len(line)
        bare = line.rstrip()
        if fence and fence.is_left_by(bare):
            fence = None
        if fence:
            fence = None if fence.is_closed_by(bare) else fence
        elif found := FENCE.match(bare):
            fence = Fence(found[2], is_nested=bool(found[1].strip()))
            paragraph, is_lazy = None, False
        elif HEADING.match(bare):
            yield start, end
            paragraph, is_lazy = None, False
        elif paragraph is not None and UNDERLINE.match(bare):
            yield paragraph, end
            paragraph = None
        elif not bare or RULE.match(bare):
            paragraph, is_lazy = None, False
        elif found := MARKER.match(bare):
            paragraph, is_lazy = None, found.end() < len(bare)
        elif paragraph is None and not is_lazy and not INDENTED.match(bare):
            paragraph = start


FORMAT = Format(
    media_type="text/markdown",
    extensions=(".md", ".markdown"),
    aliases=("text/x-markdown", "text/plain"),
    admits=looks_like_text,
    readers=(read,),
)
