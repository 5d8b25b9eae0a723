"""JSON, JSON Lines and notebooks (RFC 8259): a line per value with its path, so that a chunk explains itself."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pipeline.errors import FailureCode, IngestionError
from pipeline.stages.extract.blobs import leave_out_blobs
from pipeline.stages.extract.charset import decode
from pipeline.stages.extract.format import ExtractedPage, Extraction, Format, SourceFile
from pipeline.stages.extract.formats.text import looks_like_text
from pipeline.stages.extract.json5 import make_strict
from pipeline.stages.extract.layout import PARAGRAPH
from pipeline.stages.extract.notebook import write_notebook
from pipeline.types import PageWarning, WarningCode

SPACE = re.compile(r"[ \t\r\n\x1e]*")
"""Separators of JSON texts: white space, and the record separator of RFC 7464."""
LONGEST_PATH = 200
"""Longest path repeated on each line, in characters. A longer one is written once, on a line of its own."""
SHOWN_LINES = 10
"""Maximum number of invalid lines whose numbers a warning names."""
LONGEST_ITEM = 40
"""Longest item of a list that is written on one line, in characters."""
Value = Any
"""A string (also for a number), bool, None, list, or tuple of pairs for an object, because keys may repeat."""
Entry = tuple[str, Value]
"""The path to a value, and the value."""
END_OF_RECORD = object()


def read(file: SourceFile) -> Extraction:
    """Read one or more consecutive JSON texts, or a notebook, as one page of one section.

    Raises IngestionError if the file is not valid JSON.
    """
    decoded = decode(file.content.read(), file.charset)
    values, warnings = _parse(decoded.text)
    records = (record for value in values for record in write_notebook(value) or _write(value))
    page = ExtractedPage([PARAGRAPH.join(filter(None, records))], decoded.warnings + warnings)
    return Extraction(1, iter([page]))


def _parse(text: str) -> tuple[list[Value], list[PageWarning]]:
    """Return the values of a file: of strict JSON, of JSON with comments, or of its valid lines."""
    try:
        return list(_read_values(text)), []
    except json.JSONDecodeError as error:
        fault = error
    except RecursionError as error:
        message = "The JSON is nested too deeply. Flatten it and upload it again."
        raise IngestionError(FailureCode.MALFORMED, message) from error
    try:
        return list(_read_values(make_strict(text))), []
    except (json.JSONDecodeError, RecursionError):
        pass
    if values_and_warning := _read_lines(text):
        return values_and_warning
    message = (
        f"The file is not valid JSON: {fault.msg} in line {fault.lineno}, column {fault.colno}. "
        "Correct it and upload it again."
    )
    raise IngestionError(FailureCode.MALFORMED, message) from fault


def _read_lines(text: str) -> tuple[list[Value], list[PageWarning]] | None:
    """Return the values of the valid lines of JSON Lines and a warning about the others, or None for another text."""
    values: list[Value] = []
    bad: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare and not bare.strip("[]{},"):
            return None  # a bracket alone: one text that goes over several lines
        try:
            read = list(_read_values(bare))
        except (json.JSONDecodeError, RecursionError):
            bad.append(number)
        else:
            values += (value for value in read if isinstance(value, (tuple, list)))
    if not values:
        return None
    shown = ", ".join(map(str, bad[:SHOWN_LINES])) + (", …" if len(bad) > SHOWN_LINES else "")
    message = f"Lines that are not valid JSON were left out: {len(bad)}. Their numbers: {shown}."
    return values, [PageWarning(WarningCode.PARTS_SKIPPED, message)]


def _read_values(text: str) -> Iterator[Value]:
    # Keep numbers as they are written in the file.
    decoder = json.JSONDecoder(
        strict=False, object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=str
    )
    position = _skip_space(text, 0)
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
        yield value
        position = _skip_space(text, position)


def _skip_space(text: str, position: int) -> int:
    found = SPACE.match(text, position)
    return found.end() if found else position


def _write(value: Value) -> Iterator[str]:
    """Yield the text of each record of a value. Not recursive: values may be nested deeper than calls can be."""
    lines: list[str] = []
    stack: list[Entry] = [("", value)]
    while stack:
        path, value = stack.pop()
        if value is END_OF_RECORD:
            yield "\n".join(lines)
            lines = []
        elif not _is_leaf(value):
            if len(path) > LONGEST_PATH:
                lines.append(f"{path}:")
                path = ""
            stack += reversed(_expand(path, value))
        elif text := _show(value):
            lines.append(f"{path}: {text}" if path else text)
    yield "\n".join(lines)


def _is_leaf(value: Value) -> bool:
    """Return True if the value is written on one line."""
    if isinstance(value, list):
        return all(not isinstance(item, (tuple, list)) and len(_show(item)) <= LONGEST_ITEM for item in value)
    return not isinstance(value, tuple)


def _expand(path: str, value: Value) -> list[Entry]:
    """Return the members of an object or a list, with their paths.

    If a list holds objects or lists, each of its items is a record.
    """
    if isinstance(value, tuple):
        return [(f"{path}.{key}" if path else key, member) for key, member in value]
    if any(isinstance(item, (tuple, list)) for item in value):
        return [("", END_OF_RECORD), *(entry for item in value for entry in ((path, item), ("", END_OF_RECORD)))]
    return [(path, item) for item in value]


def _show(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(filter(None, map(_show, value)))
    return leave_out_blobs(str(value))


FORMAT = Format(
    media_type="application/json",
    extensions=(".json", ".jsonl", ".ndjson", ".json5", ".jsonc", ".ipynb"),
    aliases=(
        "application/x-ndjson",
        "application/jsonl",
        "application/json-lines",
        "application/json5",
        "application/x-ipynb+json",
        "text/json",
        "text/plain",
    ),
    admits=looks_like_text,
    readers=(read,),
    no_text="The file contains no values with text. Check that it is the right file.",
)
