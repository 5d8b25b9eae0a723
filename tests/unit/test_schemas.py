"""Patterns of requests are checked in linear time. Otherwise, one request could stop the event loop for minutes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

OPENAPI = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
LENGTH = 200_000
PIECES = ["a", " ", "a ", "a@", "a.", "\u00e9", "\0", "1", "-"]


def find_patterns(document: object) -> Iterator[str]:
    match document:
        case dict():
            for key, value in document.items():
                if key == "pattern" and isinstance(value, str):
                    yield value
                yield from find_patterns(value)
        case list():
            for item in document:
                yield from find_patterns(item)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pattern", sorted(set(find_patterns(json.loads(OPENAPI.read_text())))))
def test_long_texts_are_checked_at_once(pattern: str) -> None:
    for piece in PIECES:
        text = piece * (LENGTH // len(piece))
        for end in ("", "\0", " ", "\n", "@"):
            re.search(pattern, text + end)
