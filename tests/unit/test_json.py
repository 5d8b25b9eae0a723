"""JSON that is not strict, JSON Lines with invalid lines, notebooks, and binary data in values."""

import base64
import io
import json
import random
from typing import Any

import pytest

from pipeline.errors import FailureCode, IngestionError
from pipeline.ingest.executor import LETTER_OR_DIGIT
from pipeline.stages.extract import find_formats, get_format
from pipeline.stages.extract.format import ExtractedPage, SourceFile

PICTURE = base64.b64encode(random.Random(3).randbytes(3000)).decode()


def read_page(text: str) -> ExtractedPage:
    [page] = get_format("application/json").readers[0](SourceFile(io.BytesIO(text.encode()))).pages
    return page


def read(text: str) -> str:
    return "".join(read_page(text).sections)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('// config\n{"a": 1, /* x */ "b": 2,}', "a: 1\nb: 2"),
        ('{"url": "http://x.y/z", // why\n "list": [1, 2, /* three */],\n}', "url: http://x.y/z\nlist: 1, 2"),
        ("{name: 'it is \"so\"', $b_1: 'don\\'t',}", 'name: it is "so"\n$b_1: don\'t'),
        ("{hex: 0xFF, plus: +1, point: .5, end: 5.}", "hex: 0xFF\nplus: +1\npoint: .5\nend: 5."),
        ('# shell\n{"a": "/* kept */ // kept, }", "b": ",]"}', "a: /* kept */ // kept, }\nb: ,]"),
        ('{"a": 1, // last\n /* and */ }', "a: 1"),
        ("{'größe': 'zwölf', 日本: '語',}", "größe: zwölf\n日本: 語"),
    ],
)
def test_json_as_people_write_it(text: str, shown: str) -> None:
    assert read(text) == shown


@pytest.mark.parametrize(
    ("text", "shown", "numbers"),
    [
        ('{"a":"one"}\n\n{"a": broken}\n{"a":"four"}\n', "a: one\n\na: four", "1. Their numbers: 3."),
        ('{"a":"one"}\n{"a":"two"}\n{"a":"thr', "a: one\n\na: two", "1. Their numbers: 3."),
        ('ERROR: reset\r\n{"a":"one"}\r\n{"a":', "a: one", "2. Their numbers: 1, 3."),
        ('{"a":"one"}{"a":\n[["x"],["y"]]', "x\n\ny", "1. Their numbers: 1."),
        ("nothing\n" * 12 + '{"a":1}', "a: 1", "12. Their numbers: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …."),
    ],
)
def test_invalid_lines_are_left_out_and_counted(text: str, shown: str, numbers: str) -> None:
    page = read_page(text)
    assert "".join(page.sections) == shown
    [warning] = page.warnings
    assert (warning.code, warning.message) == (
        "parts_skipped",
        f"Lines that are not valid JSON were left out: {numbers}",
    )


@pytest.mark.parametrize(
    "text", ["nothing\nat all", '{\n"a": {"b": 1}\n', '[\n{"a": 1},\n{"a": 2}\n', '{"a": x}', "{'a'"]
)
def test_json_without_a_valid_line_is_malformed(text: str) -> None:
    with pytest.raises(IngestionError) as caught:
        read(text)
    assert caught.value.failure == FailureCode.MALFORMED


@pytest.mark.parametrize(
    "unit", ['"', "'", "/*", "\\", '"\\', "{'a':", ",", ", ", "//", "#", "a ", "{a:1,", "[", '{"a":1}\n{\n']
)
def test_broken_json_ends_soon(unit: str) -> None:
    """In time quadratic in the size, 150 kB would take a minute."""
    try:
        read("{" + unit * (150_000 // len(unit)))
    except IngestionError as error:
        assert error.failure == FailureCode.MALFORMED  # noqa: PT017 - some of them are valid lines


MARKDOWN = {"cell_type": "markdown", "source": ["# Levels\n", "The *gauge* by week."]}
CODE = {
    "cell_type": "code",
    "source": "print(level)",
    "outputs": [
        {"output_type": "stream", "name": "stdout", "text": ["3.2 metres\n"]},
        {"output_type": "display_data", "data": {"image/png": PICTURE, "text/plain": ["<Figure of levels>"]}},
        {"output_type": "error", "ename": "KeyError", "evalue": "'gauge'", "traceback": ["\x1b[31mframe"]},
    ],
}
SHOWN = "# Levels\nThe *gauge* by week.\n\nprint(level)\n\n3.2 metres\n\n<Figure of levels>\n\nKeyError: 'gauge'"
OLD_CODE = {"cell_type": "code", "input": ["x = 1"], "outputs": [{"output_type": "pyout", "text": "1", "png": PICTURE}]}


@pytest.mark.parametrize(
    ("notebook", "shown"),
    [
        ({"nbformat": 4, "metadata": {"kernelspec": {"name": "python3"}}, "cells": [MARKDOWN, CODE]}, SHOWN),
        ({"cells": [MARKDOWN, CODE]}, SHOWN),
        ({"nbformat": 3, "worksheets": [{"cells": [OLD_CODE]}, {"cells": [OLD_CODE]}]}, "x = 1\n\n1\n\nx = 1\n\n1"),
        ({"cells": [{"cell_type": "raw", "source": "raw"}, {"cell_type": "code", "source": []}]}, "raw"),
        ({"cells": [{"cell_type": "markdown", "source": f"![plan](data:image/png;base64,{PICTURE})"}]}, "![plan]()"),
        ({"cells": [{"name": "no notebook"}]}, "cells.name: no notebook"),
    ],
)
def test_notebooks_are_read_cell_by_cell(notebook: dict[str, Any], shown: str) -> None:
    assert read(json.dumps(notebook)) == shown


@pytest.mark.parametrize(
    "value", [PICTURE, f"data:image/png;base64,{PICTURE}", [PICTURE], {"png": PICTURE}, [[PICTURE]]]
)
def test_binary_data_is_left_out(value: object) -> None:
    assert read(json.dumps({"title": "plan", "picture": value})).strip() == "title: plan"


@pytest.mark.parametrize(
    "text", ["null", '{"maximum speed": null, "colour": ""}', "[]", '[{"a": []}, {"b": {}}]', '""']
)
def test_keys_without_values_are_no_text(text: str) -> None:
    assert read(text) == ""


@pytest.mark.parametrize("text", ["........ -------\n", "\u200b\u200b", "___", " \n", "\u2028…"])
def test_text_without_a_letter_or_digit_is_no_text(text: str) -> None:
    assert not LETTER_OR_DIGIT.search(text)


@pytest.mark.parametrize("text", ["...a", "７", "字", "ا", "९", "--- 4"])
def test_letters_and_digits_of_every_script_are_text(text: str) -> None:
    assert LETTER_OR_DIGIT.search(text)


def test_only_formats_with_pictures_advise_text_recognition() -> None:
    advised = {known.extensions[0] for known in find_formats() if "OCR" in known.no_text}
    assert advised == {".pdf", ".docx", ".pptx", ".epub"}
