"""What the doctor says about errors at the login, and about versions."""

import asyncio
import socket
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from redis import exceptions

from pipeline.db import connection
from pipeline.db.schema import Server
from pipeline.embedding.engines.torch_model import DeviceMissing
from pipeline.embedding.factory import UsableModel
from pipeline.embedding.prompts import Prompts
from pipeline.embedding.reembed import ModelChangeError
from pipeline.errors import DatabaseUnavailable, ReadOnlyDatabase, UnsafeDatabase
from pipeline.operations.doctor import (
    Verdict,
    examine,
    explain_failed_login,
    explain_owner_failure,
    explain_redis_failure,
    explain_unusable_model,
    judge_other_model,
    judge_usable_model,
    judge_versions,
)
from pipeline.settings import Settings


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


@pytest.mark.parametrize(
    ("error", "found", "advice"),
    [
        (exceptions.AuthenticationError("invalid username-password pair"), "answers: invalid", "correct REDIS_URL"),
        (
            exceptions.AuthenticationError("Authentication required."),
            "answers: Authentication required",
            "redis://:password@",
        ),
        (
            exceptions.ResponseError("DB index is out of range"),
            "answers: DB index is out of range",
            "correct REDIS_URL",
        ),
        (
            exceptions.ConnectionError("Error 111 connecting"),
            "does not respond",
            "start it, or correct the host and port",
        ),
        (exceptions.BusyLoadingError("loading"), "does not respond", "start it"),
        (TimeoutError(), "does not respond", "start it"),
    ],
)
def test_redis_failure_is_explained(error: exceptions.RedisError | TimeoutError, found: str, advice: str) -> None:
    finding = explain_redis_failure(error, "host:6380/0")
    assert finding.found.startswith(f"host:6380/0 {found}")
    assert advice in finding.advice
    assert "no rate limits" in finding.advice


@pytest.mark.parametrize(("mode", "is_private"), [(0o600, True), (0o400, True), (0o644, False), (0o640, False)])
def test_env_file_that_others_may_read(
    mode: int, is_private: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").touch()
    (tmp_path / ".env").chmod(mode)

    async def read_advice() -> list[str]:
        async with aclosing(examine(Settings(_env_file=None))) as findings:
            return [(await anext(findings)).advice for _ in range(2)]

    assert ("run chmod 600 .env" in asyncio.run(read_advice())) == (not is_private)


async def _refuse_role(*_arguments: object, **_options: object) -> None:
    raise asyncpg.InsufficientPrivilegeError("permission denied to set role")


def test_role_without_rights_gets_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncpg, "connect", _refuse_role)
    with pytest.raises(UnsafeDatabase) as caught:
        asyncio.run(connection.connect(is_pooled=False))
    found, _, advice = caught.value.reason.partition(": ")
    assert found == "the role in DATABASE_URL may not act as sluice_service"
    assert "GRANT sluice_service TO the_role WITH SET TRUE" in advice


@pytest.mark.parametrize("is_pooled", [False, True])
@pytest.mark.parametrize(
    "row",
    [
        ("postgres", True, "on"),
        ("postgres", True, None),
        ("sluice_service", False, "on"),
        ("sluice_service", True, "on"),
    ],
)
def test_every_unsafe_connection_gets_advice(row: tuple[str, bool, str | None], is_pooled: bool) -> None:
    reason = connection.find_danger(*row, *["wrong"] * len(connection.SESSION_SETTINGS), is_pooled=is_pooled)
    assert reason
    assert all(reason.partition(": ")), reason


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (socket.gaierror(-2, "?"), "could not be used (its host is unknown): check"),
        (ConnectionRefusedError(), "could not be used (nothing listens there): check"),
        (FileNotFoundError(), "could not be used (there is no such socket): check"),
        (TimeoutError(), "could not be used (no answer): check"),
        (asyncpg.InvalidCatalogNameError(), "does not exist: correct the name of the database in DATABASE_OWNER_URL"),
        (asyncpg.TooManyConnectionsError(), "has no free connections: lower"),
        (asyncpg.InvalidPasswordError(), "PostgreSQL refuses the password of the owner: correct DATABASE_OWNER_URL"),
    ],
)
def test_owner_is_told_what_is_wrong(cause: Exception, message: str) -> None:
    error = DatabaseUnavailable("The database does not respond. Try again in a moment.")
    error.__cause__ = cause
    url = SecretStr("postgresql://u:s3cr3tpw@host:5433/name")
    explained = explain_owner_failure(error, Settings(_env_file=None, database_owner_url=url))
    location = "" if "password" in message else "host:5433/name "
    assert explained.startswith(f"{location}{message}")
    assert "s3cr3tpw" not in explained
    assert " DATABASE_URL" not in explained


def test_owner_is_told_of_a_read_only_database() -> None:
    error = ReadOnlyDatabase()
    url = SecretStr("postgresql://host/name")
    assert explain_owner_failure(error, Settings(_env_file=None, database_url=url)) == error.message


def test_owner_is_told_of_servers_that_have_just_ended() -> None:
    error = DatabaseUnavailable("The database does not respond. Try again in a moment.")
    error.__cause__ = FileNotFoundError()
    explained = explain_owner_failure(error, Settings(_env_file=None))
    assert explained.startswith("the database of `make up` could not be used (there is no such socket): check")


@pytest.mark.parametrize(
    ("cause", "runs_there", "found", "advice"),
    [
        (
            DeviceMissing("no device cuda; set EMBEDDING_DEVICE to auto or cpu"),
            False,
            "no device cuda",
            "set EMBEDDING_DEVICE to auto or cpu",
        ),
        (OSError("no such folder; sorry"), False, "no such folder; sorry", "install it, or correct EMBEDDING_MODEL"),
        (
            None,
            True,
            "None",
            "see The embedding server is down in RUNBOOK.md, or correct EMBEDDING_MODEL",
        ),
    ],
)
def test_unusable_model_gets_one_advice(cause: Exception | None, runs_there: bool, found: str, advice: str) -> None:
    error = ModelChangeError(f"a-model: {cause}")
    error.__cause__ = cause
    finding = explain_unusable_model(error, runs_there=runs_there)
    assert (finding.verdict, finding.found, finding.advice) == (Verdict.FAILED, f"a-model: {found}", advice)


def test_refused_engine_is_a_warning() -> None:
    usable = UsableModel(384, "torch in float32 on cpu", Prompts("query: ", ""))
    finding = judge_usable_model("a-model", usable)
    expected = 'a-model, by torch in float32 on cpu, with "query: " before questions'
    assert (finding.verdict, finding.found, finding.advice) == (Verdict.OK, expected, "")
    finding = judge_usable_model("a-model", replace(usable, refusals=["openvino: no folder"]))
    assert (finding.verdict, finding.found) == (Verdict.WARNING, f"{expected}; refused: openvino: no folder")
    assert "engine.refused" in finding.advice


def test_advice_on_another_model_never_undoes_a_change() -> None:
    finding = judge_other_model("new", "old")
    assert finding.advice.startswith("set EMBEDDING_MODEL=new;")
    assert "old" not in finding.advice
