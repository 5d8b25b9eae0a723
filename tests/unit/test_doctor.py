"""What the doctor says about errors at the login, and about versions."""

from datetime import UTC, datetime

import pytest

from pipeline.db.schema import Server
from pipeline.operations.doctor import Verdict, explain_failed_login, judge_versions


@pytest.mark.parametrize(
    ("sqlstate", "found", "advice"),
    [
        ("28P01", "refuses the password", "python -m pipeline migrate"),
        ("28000", "refuses the login", "pg_hba.conf"),
        ("3D000", "does not exist", "create the database"),
        ("22023", "has no role sluice_service", "python -m pipeline migrate"),
        ("08P01", "PgBouncer", "DATABASE_TRANSACTION_POOLING=true"),
        ("42501", "does not let sluice_service read", "--no-privileges"),
        ("53300", "no free connections", "DATABASE_POOL_SIZE"),
    ],
)
def test_failed_login_is_explained(sqlstate: str, found: str, advice: str) -> None:
    explained = explain_failed_login(sqlstate)
    assert explained
    assert found in explained[0]
    assert advice in explained[1]


@pytest.mark.parametrize("sqlstate", ["", "08006", "42P01"])
def test_other_errors_are_not_taken_for_a_failed_login(sqlstate: str) -> None:
    assert explain_failed_login(sqlstate) is None


@pytest.mark.parametrize(
    ("version", "vector_version", "advice"),
    [
        ("15.9 (Debian)", "0.8.0", "install PostgreSQL 16 or newer"),
        ("16.4", None, "install pgvector"),
        ("16.4", "0.7.4", "ALTER EXTENSION vector UPDATE"),
        ("16.4", "0.8.0", ""),
        ("18rc1", "1.0", ""),
    ],
)
def test_old_versions_are_named(version: str, vector_version: str | None, advice: str) -> None:
    server = Server(
        version, int(version[:2]), vector_version, "sluice_service", has_row_security=True, now=datetime.now(UTC)
    )
    finding = judge_versions("host/sluice", server)
    assert (finding.verdict == Verdict.OK) == (not advice)
    assert advice in finding.advice
