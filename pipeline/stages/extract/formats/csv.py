"""CSV and TSV (RFC 4180): one paragraph per row, each value with its column name, so that a chunk explains itself."""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice

from pipeline.stages.extract.blobs import leave_out_blobs
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.text import looks_like_text, read_lines
from pipeline.stages.extract.layout import LINE, PARAGRAPH
from pipeline.stages.extract.table import Row, write_table

DELIMITERS = "\t|;,"
"""Delimiters, the ones that stand in values last: a comma also divides decimals and phrases."""
DECLARED_DELIMITER = re.compile(r'"?sep=([^\w\n"])"?\n', re.IGNORECASE)
"""First line of files for Excel."""
SAMPLE_CHARACTERS = 64 * 1024
"""Number of characters that are examined to find the delimiter."""
SAMPLE_ROWS = 100
"""Maximum number of rows of the sample that are examined."""
FEWEST_COLUMNS = 3
"""Number of columns from which rows are recognised inside a value, after a quote that nobody closes."""

csv.field_size_limit(sys.maxsize)  # the sandbox limits the size of the text


def read(file: SourceFile) -> Extraction:
    """Read a table as one page of one section.

    Raises IngestionError if the text encoding is unknown.
    """
    decoded = read_lines(file)
    text = leave_out_blobs(decoded.text)
    start = 0
    if declared := DECLARED_DELIMITER.match(text):
        delimiter, start = declared.group(1), declared.end()
    else:
        delimiter = _find_delimiter(text[:SAMPLE_CHARACTERS])
    paragraphs = (part.text for part in write_table(_read_rows(text, delimiter, start)))
    return Extraction(1, iter([ExtractedPage([PARAGRAPH.join(paragraphs)], decoded.warnings)]))


def _find_delimiter(sample: str) -> str:
    """Return the delimiter that divides the most rows of the sample into the same number of cells."""

    def count_fitting(delimiter: str) -> int:
        rows = islice(_read_rows(sample, delimiter), SAMPLE_ROWS)
        return max(Counter(len(row) for row in rows if len(row) > 1).values(), default=0)

    counts = {delimiter: count_fitting(delimiter) for delimiter in DELIMITERS}
    return max(counts, key=counts.__getitem__) if any(counts.values()) else ","


class _Lines:
    """The lines of a text from `position` on. The position is that of the next line, and may be set."""

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        start = self.position
        if start >= len(self.text):
            raise StopIteration
        end = self.text.find(LINE, start)
        self.position = end + 1 if end >= 0 else len(self.text)
        return self.text[start : self.position]


def _read_rows(text: str, delimiter: str, position: int = 0) -> Iterator[Row]:
    """Yield the rows that hold a value. A quote that is not closed, or closed amid a value, costs its line alone."""
    lines = _Lines(text, position)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    width = 0
    while lines.position < len(text):
        start, count = lines.position, reader.line_num
        try:
            row = next(reader)
            is_sound = reader.line_num <= count + 1 or not _swallows_rows(lines, start, delimiter, width)
        except csv.Error:
            is_sound = False
        if not is_sound:
            lines.position = start
            row = _split_line(next(lines), delimiter)
        cells = [cell.strip() for cell in row]
        if any(cells):
            width = len(cells)
            yield cells


def _swallows_rows(lines: _Lines, start: int, delimiter: str, width: int) -> bool:
    """Return True if a row that is several lines long is several rows, after a quote that nobody closed."""
    record = lines.text[start : lines.position].rstrip(LINE).split(LINE)
    return width >= FEWEST_COLUMNS and all(len(_split_line(line, delimiter)) == width for line in record)


def _split_line(line: str, delimiter: str) -> Row:
    """Split one line. A quote belongs to the value, unless it stands at the begin and another one at the end."""
    found = _compile_value(delimiter).findall(line.rstrip(LINE) + delimiter)
    return [quoted.replace('""', '"') or plain for quoted, plain in found]


@cache
def _compile_value(delimiter: str) -> re.Pattern[str]:
    mark = re.escape(delimiter)
    return re.compile(rf'(?: *+"((?:[^"]++|"")*+)" *|([^{mark}]*+)){mark}')


FORMAT = Format(
    media_type="text/csv",
    extensions=(".csv", ".tsv"),
    aliases=("text/tab-separated-values", "application/csv", "application/vnd.ms-excel", "text/plain"),
    admits=looks_like_text,
    readers=(read,),
    no_text="The table has no cell with text. Check that it is the right file.",
)
