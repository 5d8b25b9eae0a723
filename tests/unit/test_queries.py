"""Modules outside the migrations contain no SQL text, so that every value is a bound parameter."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
STATEMENT = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|ALTER|CREATE|DROP|GRANT|TRUNCATE|LISTEN|SET)\s(?!/)"
)
TEXTUAL = {"text", "literal_column", "TextClause"}

EXCEPTIONS = {
    # ALTER ROLE takes no bound parameters. PostgreSQL's own format() quotes the two values.
    "pipeline/db/schema.py",
    # It reads the catalog with one constant statement, and prints statements for an administrator.
    "pipeline/db/requirements.py",
}


def find_sql(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value):
            yield f"line {node.lineno}: {node.value[:40]}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
            yield from (f"line {node.lineno}: {alias.name}" for alias in node.names if alias.name in TEXTUAL)


def list_modules() -> list[str]:
    return sorted(
        str(file.relative_to(PROJECT))
        for package in ("api", "workers", "pipeline")
        for file in (PROJECT / package).rglob("*.py")
    )


@pytest.mark.parametrize("module", list_modules())
def test_module_holds_no_sql_text(module: str) -> None:
    found = list(find_sql((PROJECT / module).read_text()))
    if module in EXCEPTIONS:
        assert found, "the exception is no longer needed"
    else:
        assert found == []


def test_find_sql_finds_sql() -> None:
    assert len(list(find_sql('from sqlalchemy import text\nx = text("SELECT 1")\n'))) == 2
    assert len(list(find_sql('c.execute(f"DELETE FROM {t}")'))) == 1
