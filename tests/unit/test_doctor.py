"""What the doctor says about errors at the login."""

import pytest

from pipeline.operations.doctor import explain_failed_login


@pytest.mark.parametrize(
    ("sqlstate", "found", "advice"),
    [
        ("28P01", "refuses the password", "python -m pipeline migrate"),
        ("28000", "refuses the login", "pg_hba.conf"),
        ("3D000", "does not exist", "create the database"),
        ("22023", "has no role sluice_service", "python -m pipeline migrate"),
        ("08P01", "PgBouncer", "DATABASE_TRANSACTION_POOLING=true"),
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
