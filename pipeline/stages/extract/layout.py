"""Text as a page shows it: white space collapses, lines and paragraphs end once, and headings begin sections."""

import re
from collections.abc import Iterable, Iterator

from pipeline.stages.extract.format import MAX_SECTIONS

QUOTE = "> "
"""Mark of a line that another message quotes, as in plain mail."""
LINE, PARAGRAPH = "\n", "\n\n"
SPACES = re.compile(r"[ \t\n\r\f\v]+")
REPEAT_CHARACTERS = 1000
"""Number of characters of a table after which its header is repeated, so that each passage has it."""


class Writer:
    """Collects the text of a page in sections."""

    def __init__(self, max_sections: int = MAX_SECTIONS) -> None:
        """Begin a page. Headings begin at most `max_sections` sections."""
        self._max_sections = max_sections
        self._sections: list[list[str]] = [[]]
        self._has_body = False
        self._headings = 0
        self._preformatted = 0
        self._break = ""
        self._breaks = 0
        self._has_space = False
        self._label = ""
        self._quotes = 0

    def write(self, text: str) -> None:
        """Add text. White space collapses to one space, unless the text is preformatted."""
        if self._preformatted:
            self._append(text.replace("\r\n", LINE))
            return
        collapsed = SPACES.sub(" ", text)
        self._has_space |= collapsed.startswith(" ")
        if words := collapsed.strip(" "):
            self._append(words)
            self._has_space = collapsed.endswith(" ")

    def label(self, text: str) -> None:
        """Put this before the next text, for example the number of a list item."""
        self._label = text

    def end_line(self) -> None:
        """Let the next text begin a line."""
        self._break = self._break or LINE

    def break_line(self) -> None:
        """Break the line. Two breaks without text between them end the paragraph."""
        self._break = PARAGRAPH if self._breaks else self._break or LINE
        self._breaks += 1

    def end_paragraph(self) -> None:
        """Let the next text begin a paragraph."""
        self._break = PARAGRAPH

    def begin_heading(self) -> None:
        """Begin a heading, and with it a section, unless only white space follows the heading before it."""
        self.end_paragraph()
        self._headings += 1

    def end_heading(self) -> None:
        """End a heading."""
        self._headings -= 1
        self.end_paragraph()

    def begin_preformatted(self) -> None:
        """Keep white space as it is, until the end."""
        self._preformatted += 1

    def end_preformatted(self) -> None:
        """End preformatted text."""
        self._preformatted -= 1

    def begin_quote(self) -> None:
        """Mark the lines of a quoted message with `>`, until the end."""
        self.end_paragraph()
        self._quotes += 1

    def end_quote(self) -> None:
        """End a quoted message."""
        self._quotes -= 1
        self.end_paragraph()

    def finish(self) -> list[str]:
        """Return the sections, at least one. Joined, they are the text."""
        texts = ["".join(section).strip(LINE).rstrip() for section in self._sections]
        texts = [text for text in texts if text.strip()]
        return [*(text + PARAGRAPH for text in texts[:-1]), *(texts[-1:] or [""])]

    def _append(self, text: str) -> None:
        if self._headings and self._has_body and len(self._sections) < self._max_sections:
            self._sections.append([])
            self._has_body = False
        section = self._sections[-1]
        mark = QUOTE * self._quotes if self._break or not section else ""
        if section:
            section.append(self._break or (" " if self._has_space else ""))
        section.append(mark + self._label + text)
        self._break, self._breaks, self._has_space, self._label = "", 0, False, ""
        self._has_body = self._has_body or (not self._headings and bool(text.strip()))


def join_row(cells: Iterable[str]) -> str:
    """Return a row of a table as one line."""
    return " ".join(filter(None, cells))


def repeat_header(header: str, rows: Iterable[str]) -> Iterator[str]:
    """Yield the rows of a table below its header. In a long table, the header is repeated after a blank line."""
    length = 0
    if header:
        yield header
    for row in rows:
        if header and length > REPEAT_CHARACTERS:
            yield LINE + header
            length = 0
        length += len(row)
        yield row
