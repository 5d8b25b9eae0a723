"""Markdown. Its source is its text: headings and emphasis read well as they are."""

import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.stages.extract.format import Block, Extraction, Format, join_sections
from pipeline.stages.extract.text import read_lines

HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*+\1){2,}+[ \t]*$")
MARKER = re.compile(r" {0,3}(?:>|(?:[-+*]|\d{1,9}[.)])(?=[ \t]|$))")
"""Of a quotation or a list item."""
FENCE = re.compile(rf"((?:{MARKER.pattern}[ \t]*+)*+ {{0,3}})(`{{3,}}(?=[^`]*$)|~{{3,}})")
OUTSIDE = re.compile(r"[^ \t>]")
"""What ends a quotation or a list item, if it is in code."""
INDENTED = re.compile(r" {0,3}\t| {4}")


def read(file: BinaryIO) -> Extraction:
    """Read a Markdown file as one page, in the sections that its headings begin."""
    return Extraction(pages=1, texts=iter([join_sections(_divide(read_lines(file)))]))


def _divide(text: str) -> Iterator[Block]:
    end = 0
    for start, stop in _find_headings(text):
        yield Block(text[end:start])
        yield Block(text[start:stop], is_heading=True)
        end = stop
    yield Block(text[end:])


def _find_headings(text: str) -> Iterator[tuple[int, int]]:
    """Starts and ends of the headings, both marked by `#` and underlined, but not of lines like them in code.

    A line at a time, for a file may be an attack: a parser of all of Markdown takes a hundred times as long, minutes
    for the longest text. Block of HTML and link definitions are not known; what looks like a heading in them is one.
    """
    fence, depth, is_nested = "", 0, False
    paragraph: int | None = None
    is_lazy = False  # within a quotation or list item, to which unmarked lines still belong
    end = 0
    for line in io.StringIO(text):
        start, end = end, end + len(line)
        bare = line.rstrip("\n")
        if fence and is_nested and OUTSIDE.match(bare):
            fence = ""
        if fence:
            fence = "" if _closes(bare, fence, depth) else fence
        elif found := FENCE.match(bare):
            fence, is_nested = found[2], bool(found[1].strip())
            depth = len(found[1]) if is_nested else 0
            paragraph, is_lazy = None, False
        elif HEADING.match(bare):
            yield start, end
            paragraph, is_lazy = None, False
        elif paragraph is not None and UNDERLINE.match(bare):
            yield paragraph, end
            paragraph = None
        elif not bare.strip() or RULE.match(bare):
            paragraph, is_lazy = None, False
        elif found := MARKER.match(bare):
            paragraph, is_lazy = None, bool(bare[found.end() :].strip())
        elif paragraph is None and not is_lazy and not INDENTED.match(bare):
            paragraph = start


def _closes(line: str, fence: str, depth: int) -> bool:
    """Whether this line ends the code that a fence within so many characters of markers has begun."""
    bare = line.lstrip(" >")
    return len(line) - len(bare) <= depth + 3 and len(bare.rstrip()) >= len(fence) and not bare.rstrip().strip(fence[0])


FORMAT = Format(
    media_type="text/markdown",
    extensions=(".md", ".markdown"),
    aliases=("text/x-markdown", "text/plain"),
    readers=(read,),
)
