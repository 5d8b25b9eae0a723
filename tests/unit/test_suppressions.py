"""Every suppressed warning of a linter says why."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
WITHOUT_REASON = re.compile(r"#\s*(noqa(: [A-Z0-9, ]+)?|type: ignore(\[[a-z, -]+\])?)\s*$")


@pytest.mark.parametrize("package", ["api", "workers", "pipeline", "migrations", "client", "tests"])
def test_suppressions_have_reasons(package: str) -> None:
    found = [
        f"{file.relative_to(PROJECT)}:{number}"
        for file in sorted((PROJECT / package).rglob("*.py"))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if WITHOUT_REASON.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("line", ["x = 1  # noqa: E501", "x = 1  # type: ignore[arg-type]", "x = 1  # noqa"])
def test_the_search_itself_finds_suppressions(line: str) -> None:
    assert WITHOUT_REASON.search(line)
    assert not WITHOUT_REASON.search(f"{line}  # the reason")
    assert not WITHOUT_REASON.search(f"{line} - the reason")
