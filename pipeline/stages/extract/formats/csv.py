"""CSV and TSV (RFC 4180): one paragraph per row, each value with its column name, so that a chunk explains itself."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.text import looks_like_text, read_lines

DELIMITERS = ",;\t|"
SAMPLE_CHARACTERS = 64 * 1024
"""Number of characters that are examined to find the delimiter."""
SAMPLE_ROWS = 100
"""Maximum number of rows of the sample that are examined."""
PARAGRAPH = "\n\n"
LONGEST_NAME = 200
"""Longest column name, in characters. A first row with longer cells is data, because every row repeats the names."""

csv.field_size_limit(sys.maxsize)  # the sandbox limits the size of the text


def read(file: SourceFile) -> Extraction:
    """Read a table as one page of one section.

    Raises IngestionError if the text encoding is unknown.
    """
    decoded = read_lines(file)
    text = decoded.text.replace("\0", "")
    rows = _read_rows(text, _find_delimiter(text[:SAMPLE_CHARACTERS]))
    return Extraction(1, iter([ExtractedPage([PARAGRAPH.join(filter(None, _describe(rows)))], decoded.warnings)]))


def _read_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield cells


def _find_delimiter(sample: str) -> str:
    """Return the delimiter that divides the most rows of the sample into the same number of cells."""

    def fit(delimiter: str) -> tuple[int, int]:
        widths = Counter(len(row) for row in islice(_read_rows(sample, delimiter), SAMPLE_ROWS) if len(row) > 1)
        return max(((count, width) for width, count in widths.items()), default=(0, 0))

    return max(DELIMITERS, key=fit)


def _describe(rows: Iterator[list[str]]) -> Iterator[str]:
    """Yield the text of each row, with column names if the first row is a header."""
    first = next(rows, [])
    second = next(rows, [])
    if second and _is_header(first):
        for row in chain([second], rows):
            yield "\n".join(_name_cells(first, row))
    else:
        for row in chain([first, second], rows):
            yield ", ".join(filter(None, row))


def _is_header(row: list[str]) -> bool:
    """Return True if a first row holds distinct names, none of them a number, and at most one empty cell."""
    names = list(filter(None, row))
    return (
        len(row) > 1
        and len(names) >= len(row) - 1
        and len(set(names)) == len(names)
        and all(len(name) <= LONGEST_NAME and not _is_number(name) for name in names)
    )


def _is_number(cell: str) -> bool:
    return any(char.isdigit() for char in cell) and not any(char.isalpha() for char in cell)


def _name_cells(names: list[str], row: list[str]) -> Iterator[str]:
    for index, cell in enumerate(row):
        if cell:
            name = names[index] if index < len(names) else ""
            yield f"{name}: {cell}" if name else cell


FORMAT = Format(
    media_type="text/csv",
    extensions=(".csv", ".tsv"),
    aliases=("text/tab-separated-values", "application/csv", "application/vnd.ms-excel", "text/plain"),
    admits=looks_like_text,
    readers=(read,),
)
