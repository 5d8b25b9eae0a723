"""`python -m pipeline doctor` and `users`, with healthy and with broken servers."""

import asyncio
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import HttpUrl, SecretStr

from pipeline.__main__ import main
from pipeline.db.schema import find_newest_revision
from pipeline.errors import NotAuthenticated, TooManyRequests
from pipeline.operations.doctor import Finding, Verdict, examine
from pipeline.operations.local.stack import SERVERS_FILE, load_operator_settings
from pipeline.runtime import open_runtime
from pipeline.settings import Settings
from pipeline.types import Identity
from pipeline.use_cases import accounts
from tests.conftest import log_errors_only
from tests.databases import clone_database, run_sql
from tests.embedding_server import embed, refuse
from tests.llm_server import Behaviour, run_llm_server

SECRET = "a secret of the tests, over 32 bytes long"
EMAIL, PASSWORD = "anna@example.org", "password of anna"


def find(settings: Settings) -> dict[str, Finding]:
    async def collect() -> list[Finding]:
        return [finding async for finding in examine(settings)]

    return {finding.part: finding for finding in asyncio.run(collect())}


def as_service(url: str) -> SecretStr:
    return SecretStr(url.replace("//postgres:", "//sluice_service:"))


def test_doctor_of_a_healthy_service(settings: Settings, database_url: str) -> None:
    with run_llm_server() as llm:
        found = find(
            settings.model_copy(
                update={
                    "database_url": as_service(database_url),
                    "database_owner_url": SecretStr(database_url),
                    "llm_base_url": llm.url,
                    "llm_model": "a-model",
                }
            )
        )
    assert {part: finding.verdict for part, finding in found.items() if finding.verdict != Verdict.OK} == {}
    assert set(found) == {
        *("settings", "database", "migrations", "rights", "clock", "embedding model", "queue", "words", "owner"),
        *("redis", "language model", "sandbox", "extraction", "data folder", "temporary files"),
    }
    assert "pgvector" in found["database"].found
    assert found["migrations"].found == find_newest_revision()
    assert not any(finding.advice for finding in found.values())


@pytest.mark.parametrize(
    ("behaviour", "verdict", "found"),
    [
        (embed, Verdict.OK, "a-model, by the embedding server"),
        (refuse(401), Verdict.FAILED, "refuses every request (status 401)"),
    ],
)
def test_doctor_asks_the_embedding_server(
    settings: Settings, behaviour: Behaviour, verdict: Verdict, found: str
) -> None:
    async def examine_model(settings: Settings) -> Finding:
        async with aclosing(examine(settings)) as findings:
            return await anext(finding async for finding in findings if finding.part == "embedding model")

    with run_llm_server() as server:
        server.behave = behaviour
        there = {"embedding_base_url": HttpUrl(server.url), "embedding_model": "a-model"}
        finding = asyncio.run(examine_model(settings.model_copy(update=there)))
    assert finding.verdict == verdict
    assert found in finding.found
    assert ("RUNBOOK.md" in finding.advice) == (verdict == Verdict.FAILED)


def test_doctor_advises_on_each_broken_part(settings: Settings, database_url: str) -> None:
    lapsed = "now() - interval '5 minutes'"
    run_sql(
        database_url,
        "INSERT INTO embedding_models (name, state) VALUES ('another-model', 'active')",
        "UPDATE alembic_version SET version_num = '0002'",
        f"""INSERT INTO jobs (owner_id, kind, subject_id, turn, lease_token, lease_until)
            VALUES (gen_random_uuid(), 'document', gen_random_uuid(), 1, gen_random_uuid(), {lapsed})""",
    )
    found = find(
        settings.model_copy(
            update={
                "jwt_secret": None,
                "database_owner_url": as_service(database_url),
                "redis_url": SecretStr("redis://127.0.0.1:1/0"),
                "llm_base_url": "http://127.0.0.1:1/v1",
                "llm_model": "a-model",
                "max_pages": 1,
            }
        )
    )
    wrong = {part: finding for part, finding in found.items() if finding.verdict != Verdict.OK}
    assert {part: finding.verdict for part, finding in wrong.items()} == {
        "settings": Verdict.FAILED,
        "migrations": Verdict.FAILED,
        "rights": Verdict.WARNING,
        "embedding model": Verdict.FAILED,
        "queue": Verdict.FAILED,
        "owner": Verdict.FAILED,
        "redis": Verdict.WARNING,
        "language model": Verdict.FAILED,
        "extraction": Verdict.FAILED,
    }
    assert all(finding.advice for finding in wrong.values())
    assert "another-model" in wrong["embedding model"].advice
    assert "python -m pipeline migrate" in wrong["migrations"].advice
    assert "python -m workers" in wrong["queue"].advice


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://sluice_service:a-secret-word@127.0.0.1:1/sluice",
        "{server}/there_is_none?host={host}",
    ],
)
def test_doctor_without_access_to_the_database(settings: Settings, database_url: str, url: str) -> None:
    server, _, host = database_url.partition("?host=")
    url = url.format(server=server.rsplit("/", 1)[0], host=host)
    found = find(settings.model_copy(update={"database_url": SecretStr(url)}))
    assert found["database"].verdict == Verdict.FAILED
    assert "migrations" not in found
    assert found["extraction"].verdict == Verdict.OK
    assert "a-secret-word" not in repr(found)


def test_doctor_before_the_first_migration(settings: Settings, postgres_url: str) -> None:
    """It says what an administrator must do, and who: an owner that is not a superuser may lack rights."""
    url = clone_database(postgres_url, "not_migrated", template="template1")
    run_sql(url, "DROP EXTENSION IF EXISTS vector", "DROP ROLE IF EXISTS poor_owner", "CREATE ROLE poor_owner LOGIN")
    poor = SecretStr(url.replace("//postgres:", "//poor_owner:"))
    found = find(settings.model_copy(update={"database_url": SecretStr(url), "database_owner_url": poor}))
    assert found["migrations"].advice == "run python -m pipeline migrate"
    assert found["owner"].verdict == Verdict.FAILED
    assert "ALTER DATABASE not_migrated OWNER TO poor_owner" in found["owner"].advice
    assert "ALTER ROLE poor_owner CREATEROLE" in found["owner"].advice
    run_sql(url, "DROP ROLE poor_owner")
    found = find(settings.model_copy(update={"database_url": SecretStr(url), "database_owner_url": SecretStr(url)}))
    assert found["owner"].verdict == Verdict.OK


@pytest.mark.own_database
def test_doctor_names_missing_rights(settings: Settings, database_url: str) -> None:
    run_sql(database_url, "REVOKE ALL ON alembic_version FROM sluice_service")
    found = find(settings.model_copy(update={"database_url": as_service(database_url)}))
    assert "does not let sluice_service read its tables" in found["database"].found
    assert "--no-privileges" in found["database"].advice


def test_doctor_refuses_a_redis_that_evicts(settings: Settings, redis_url: str) -> None:
    from redis import Redis

    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert find(settings)["redis"].verdict == Verdict.FAILED
        finally:
            redis.config_set("maxmemory-policy", "noeviction")


class Terminal:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def call(self, *arguments: str, typed: str = "") -> tuple[int | str | None, str]:
        """Run a command. Return its exit code or its error message, and its output."""
        self._capsys.readouterr()
        try:
            main(arguments, io.StringIO(typed))
        except SystemExit as end:
            return end.code, self._capsys.readouterr().out
        return 0, self._capsys.readouterr().out


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str, redis_url: str
) -> Iterator[Terminal]:
    monkeypatch.setenv("DATABASE_URL", as_service(database_url).get_secret_value())
    monkeypatch.setenv("DATABASE_OWNER_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    yield Terminal(capsys)
    log_errors_only()


def test_doctor_tells_by_its_exit_code(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = terminal.call("doctor")
    assert (code, output.count("ok  ")) == (0, 14)
    monkeypatch.delenv("JWT_SECRET")
    code, output = terminal.call("doctor", "--json")
    assert code == 1
    failed = [finding for finding in map(json.loads, output.splitlines()) if finding["verdict"] == "failed"]
    assert [finding["part"] for finding in failed] == ["settings"]
    monkeypatch.setenv("JWT_SECRET", "short-and-secret")
    code, output = terminal.call("doctor")
    assert code == 1
    assert "JWT_SECRET is shorter" in output
    assert "short-and-secret" not in output


def test_reader_of_the_output_may_end_early(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert terminal.call("doctor")[0] == 1
        closed.write("more, at the exit of Python")


def log_in(settings: Settings, *passwords: str) -> Identity:
    """Log in with one password after the other. All except the last are wrong."""

    async def run() -> Identity:
        async with open_runtime(settings, database_timeout_seconds=10) as runtime:
            for wrong in passwords[:-1]:
                with pytest.raises(NotAuthenticated):
                    await accounts.authenticate(runtime, EMAIL, wrong, "here")
            return await accounts.authenticate(runtime, EMAIL, passwords[-1], "here")

    return asyncio.run(run())


def test_life_of_an_account(terminal: Terminal, settings: Settings, database_url: str) -> None:
    assert terminal.call("users", "add", EMAIL, typed="short\n")[0] == (
        "sluice: The password cannot be used. password must have 8 to 1024 characters"
    )
    assert terminal.call("users", "add", "Anna@Example.org", typed=f"{PASSWORD}\n")[0] == 0
    assert "has an account already; users set-password" in str(
        terminal.call("users", "add", EMAIL, typed=f"{PASSWORD}\n")[0]
    )
    identity = log_in(settings, PASSWORD)
    assert identity.generation == 0
    with pytest.raises(TooManyRequests):
        log_in(settings, *["a wrong one"] * 5, PASSWORD)
    assert terminal.call("users", "set-password", EMAIL, typed="another password\n")[0] == 0
    # The new password also ends the pause after five failures.
    # It also ends the tokens of the account.
    assert log_in(settings, "another password") == replace(identity, generation=1)

    owner_id = str(identity.user_id)
    documents = "INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256, chunks)"
    notes = "INSERT INTO notes (owner_id, id, title, body, chunks)"
    run_sql(
        database_url,
        f"{documents} VALUES ('{owner_id}', gen_random_uuid(), 'a.txt', 'text/plain', 10, 'x', 2)",
        f"{documents} VALUES ('{owner_id}', gen_random_uuid(), 'b.txt', 'text/plain', 20, 'y', 3)",
        f"{notes} VALUES ('{owner_id}', gen_random_uuid(), 'A note', '4 ä', 5)",
        "INSERT INTO jobs (owner_id, kind, subject_id, turn) SELECT owner_id, 'document', id, 1 FROM documents",
    )
    output = terminal.call("users", "list", "--json")[1]
    row = json.loads(output)
    created, last_login = (datetime.fromisoformat(row.pop(f"{name}_at")) for name in ("created", "last_login"))
    assert created < last_login
    assert row == {"id": owner_id, "email": EMAIL, "documents": 2, "notes": 1, "passages": 10, "bytes": 34}
    assert terminal.call("users", "list")[1].splitlines()[1].split() == [
        *(owner_id, f"{created:%Y-%m-%d}", f"{last_login:%Y-%m-%d}", "2", "1", "10", "34", EMAIL)
    ]

    assert (
        terminal.call("users", "delete", EMAIL)[0]
        == "sluice: standard input is not a terminal: add --yes to delete without confirmation"
    )
    assert log_in(settings, "another password").user_id == identity.user_id
    assert terminal.call("users", "delete", EMAIL, "--yes")[0] == 0
    for table in ("users", "documents", "jobs", "login_failures", "login_slowdowns", "known_networks"):
        assert run_sql(database_url, f"SELECT FROM {table}") == [], table
    assert "No account has this" in str(terminal.call("users", "delete", EMAIL, "--yes")[0])
    rows = run_sql(database_url, "SELECT event_type, actor_user_id, details FROM audit_logs ORDER BY id")
    by_operator = [row for row in rows if row["event_type"] in ("user.set_password", "user.delete")]
    assert [row["event_type"] for row in by_operator] == ["user.set_password", "user.delete"]
    for row in by_operator:
        assert row["actor_user_id"] is None
        assert json.loads(row["details"]) == {"user_id": owner_id}
    assert rows[0]["event_type"] == "user.register"
    assert EMAIL not in str(rows), "the audit rows of a deleted account are anonymous"


def test_revoke_keys(terminal: Terminal, database_url: str) -> None:
    for email in ("anna@example.org", "bert@example.org", "carl@example.org"):
        terminal.call("users", "add", email, typed=f"{PASSWORD}\n")
    created = run_sql(
        database_url,
        """INSERT INTO api_keys (owner_id, id, name, secret_sha256, scopes, is_bound)
            SELECT id, gen_random_uuid(), 'x', sha256(email::bytea), '{read}', false FROM users""",
        """SELECT email, users.id::text AS user_id, api_keys.id::text AS key_id FROM users
            JOIN api_keys ON owner_id = users.id ORDER BY email""",
    )
    assert terminal.call("keys", "revoke")[0] == 2, "whose keys must be said"
    assert terminal.call("keys", "revoke", "--user", "Anna@example.org")[1].startswith("Revoked 1 API key.")
    assert run_sql(database_url, "SELECT FROM api_keys WHERE owner_id = $1", arguments=(created[0]["user_id"],)) == []
    assert "No account has this" in str(terminal.call("keys", "revoke", "--user", "nobody@example.org")[0])
    assert terminal.call("keys", "revoke", "--all")[1].startswith("Revoked 2 API keys.")
    assert run_sql(database_url, "SELECT FROM api_keys") == []
    rows = run_sql(
        database_url, "SELECT actor_user_id, details FROM audit_logs WHERE event_type = 'api_key.revoke' ORDER BY id"
    )
    assert {row["actor_user_id"] for row in rows} == {None}
    assert sorted((json.loads(row["details"]) for row in rows), key=str) == sorted(
        ({"user_id": row["user_id"], "revoked_api_key_id": row["key_id"]} for row in created), key=str
    )


def test_invitation(terminal: Terminal, database_url: str) -> None:
    code, output = terminal.call("users", "invite")
    assert code == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/#invite=[\w-]{43}\n", output)
    output = terminal.call("users", "invite", "--days", "30", "--url", "https://sluice.example.org")[1]
    assert output.startswith("https://sluice.example.org/#invite=")
    rows = run_sql(
        database_url, "SELECT extract(day FROM expires_at - created_at) FROM invitations ORDER BY expires_at"
    )
    assert [int(row[0]) for row in rows] == [7, 30]
    assert terminal.call("users", "invite", "--days", "91")[0] == 2


def test_users_are_for_the_owner(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("DATABASE_OWNER_URL", as_service(database_url).get_secret_value())
    assert "set DATABASE_OWNER_URL" in str(terminal.call("users", "list")[0])


def test_servers_of_a_running_stack_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = {name: f"postgresql://own/{name}" for name in ("database_url", "database_owner_url")}
    (tmp_path / SERVERS_FILE).write_text(json.dumps({**own, "redis_url": "redis://own"}))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    settings = load_operator_settings()
    assert (settings.owner_url, settings.redis_dsn) == ("postgresql+asyncpg://own/database_owner_url", "redis://own")
    # The owner of the stack's database must not be used for another database.
    monkeypatch.setenv("DATABASE_URL", "postgresql://other/database")
    settings = load_operator_settings()
    assert (settings.owner_url, settings.redis_dsn) == ("postgresql+asyncpg://other/database", "redis://own")


def test_unreachable_database_is_reported_in_one_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_OWNER_URL", database_url.replace("/test_", "/there_is_no_test_"))
    message = str(terminal.call("users", "list")[0])
    assert message.startswith("sluice: a local socket/there_is_no_test_")
    assert message.endswith("correct the name of the database in DATABASE_OWNER_URL, or create the database")
