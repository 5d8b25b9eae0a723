"""Notebooks of Jupyter (nbformat 3 and 4): the sources of the cells and their text outputs, in order."""

from collections.abc import Iterator
from typing import Any

from pipeline.stages.extract.blobs import leave_out_blobs

Pairs = tuple[tuple[str, Any], ...]
"""A JSON object: pairs of a key and a value."""


def write_notebook(value: Any) -> list[str]:
    """Return the paragraphs of a notebook, or an empty list if the value is not a notebook."""
    members = _read_members(value)
    sheets = [_read_members(sheet) for sheet in _read_list(members.get("worksheets"))]
    cells = [_read_members(cell) for part in (members, *sheets) for cell in _read_list(part.get("cells"))]
    if not cells or not all("cell_type" in cell for cell in cells):
        return []
    return [text for cell in cells for text in map(str.strip, _write_cell(cell)) if text]


def _write_cell(cell: dict[str, Any]) -> Iterator[str]:
    yield _join(cell.get("source", cell.get("input")))
    for output in map(_read_members, _read_list(cell.get("outputs"))):
        data = _read_members(output.get("data")) or output
        yield _join(output.get("text")) or _join(data.get("text/plain")) or _join(data.get("text/markdown"))
        if "ename" in output:
            yield f"{_join(output['ename'])}: {_join(output.get('evalue'))}"


def _join(value: Any) -> str:
    """Return a text, which notebooks also write as a list of lines."""
    lines = [line for line in _read_list(value) if isinstance(line, str)]
    return leave_out_blobs(value if isinstance(value, str) else "".join(lines))


def _read_members(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, tuple) else {}


def _read_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
