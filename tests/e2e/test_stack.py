"""`make up` from the outside: it serves, survives the death of its workers and stops cleanly."""

import os
import signal
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
import redis

from pipeline import samples
from pipeline.operations.local.stack import ensure_secret
from pipeline.operations.local.system_user import NAME as SYSTEM_USER
from pipeline.settings import Settings
from tests.databases import find_violations
from tests.e2e.conftest import Up
from tests.processes import PROJECT, is_alive, run_module, run_program
from tests.service import SECRET, Headers
from tests.waiting import wait_until

LOGIN = """
import asyncio, asyncpg, sys
async def login():
    try:
        await (await asyncpg.connect(sys.argv[1])).close()
    except asyncpg.PostgresError as error:
        print(type(error).__name__)
asyncio.run(login())
"""
LONG_NAME = "a-folder-whose-path-is-too-long-for-a-socket" * 3


def test_serves_survives_and_stops(data_dir: Path) -> None:
    data_dir /= LONG_NAME
    data_dir.mkdir()
    up = Up(data_dir)
    try:
        _is_closed_to_others(up)
        headers = up.login("keeper")
        _samples_are_found(up, headers)
        _killed_worker_is_replaced(up, headers)
        family = psutil.Process(up.process.pid).children(recursive=True)
    finally:
        seconds = up.stop(signal.SIGINT)
    assert up.process.returncode == 0
    assert seconds < 10
    assert [process for process in family if is_alive(process)] == []
    assert not [process for process in psutil.process_iter() if str(data_dir) in _command(process)]


def _is_closed_to_others(up: Up) -> None:
    """Only the API listens on the network. No other user can enter, and no password can be seen."""
    processes = psutil.Process(up.process.pid).children(recursive=True)
    listening = [
        (process.pid, connection.laddr.port)
        for process in processes
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    [api] = up.find_processes("-m api")
    assert listening == [(api.pid, urlsplit(up.url).port)]
    password = urlsplit(up.servers["redis_url"]).password
    assert password
    assert [process for process in processes if password in _command(process)] == []
    assert {path.name for path in list_open_to_all(up.data_dir)} == {"pg_hba.conf", "pg_ident.conf", "log.jsonl"}
    wrong = up.servers["redis_url"].replace(password, "wrong")
    with redis.Redis.from_url(wrong) as guest, pytest.raises(redis.AuthenticationError):
        guest.ping()
    if os.geteuid() == 0:
        _runs_as_another_user(up, processes)


def _runs_as_another_user(up: Up, processes: list[psutil.Process]) -> None:
    assert {process.username() for process in processes} == {SYSTEM_USER}
    as_user = {"owner": (up.data_dir / "postgres").stat()}
    for name, url in up.servers.items():
        [folder] = parse_qs(urlsplit(url).query).get("host", [str(Path(urlsplit(url).path).parent)])
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700, name
    # The API may not become the owner of the tables, even with a command of its own.
    logins = {name: _try_login(up.servers[name], **as_user) for name in ("database_url", "database_owner_url")}
    assert logins == {"database_url": "", "database_owner_url": "InvalidAuthorizationSpecificationError"}
    variables = {name for process in processes for name in _environment(process)}
    assert "DATABASE_OWNER_URL" not in variables


def _try_login(url: str, **options: Any) -> str:
    """Return the error that PostgreSQL answers to a program of another user, or an empty text."""
    done = run_program(sys.executable, "-c", LOGIN, url, **options)
    return done.stdout.strip() + done.stderr


def list_open_to_all(folder: Path) -> list[Path]:
    """Return the files that every user can read."""
    found = []
    for path in folder.iterdir():
        mode = path.stat().st_mode
        if path.is_dir() and mode & stat.S_IXOTH:
            found += list_open_to_all(path)
        elif path.is_file() and mode & stat.S_IROTH:
            found.append(path)
    return found


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        environment: dict[str, str] = process.environ()
    except psutil.NoSuchProcess:
        return {}
    return environment


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def _samples_are_found(up: Up, headers: Headers) -> None:
    for file in samples.list_documents():
        response = up.upload(headers, file.name, file.read_bytes())
        assert response.status_code == 202
        assert up.wait(headers, response.json()["id"])["status"] == "ready"
    for question in samples.list_questions():
        best = up.search(headers, question.question)[0]
        assert (best["title"], best["page"]) == (question.document, question.page)
    # The processes of a stack share their metrics.
    counted = 'sluice_ingestions_total{kind="document",outcome="ready"} 4.0'
    # A worker counts an ingestion shortly after the document is ready.
    with suppress(AssertionError):
        wait_until(lambda: counted in up.http.get("/metrics").text, 30, "the fourth document in the metrics")
    metrics = up.http.get("/metrics").text
    assert counted in metrics.splitlines(), [line for line in metrics.splitlines() if "ingestions_total{" in line]
    assert 'sluice_ingestion_stage_seconds_count{kind="document",stage="embedding"} 4.0' in metrics


def _killed_worker_is_replaced(up: Up, headers: Headers) -> None:
    """The stack starts another. The fault tests check what becomes of the work of a killed worker."""
    (worker,) = up.find_processes("-m workers")
    worker.send_signal(signal.SIGKILL)
    document = up.upload(headers, "after.txt", b"It was read by the worker that came after.").json()
    assert up.wait(headers, document["id"])["status"] == "ready"
    (other,) = up.find_processes("-m workers")
    assert other.pid != worker.pid
    assert find_violations(up.servers["database_owner_url"]) == {}


def test_first_run_writes_a_secret_that_only_the_owner_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET", raising=False)
    env_file = tmp_path / ".env"
    ensure_secret(env_file)
    first = env_file.read_text()
    assert len(first.removeprefix("JWT_SECRET=").strip().encode()) >= 48
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    ensure_secret(env_file)
    assert env_file.read_text() == first
    for text in ("PORT=1", "PORT=1\nJWT_SECRET=", "JWT_SECRET=''\n", "export JWT_SECRET=\n"):
        env_file.write_text(text)
        env_file.chmod(0o644)
        ensure_secret(env_file)
        assert env_file.read_text().startswith(f"{text.rstrip()}\nJWT_SECRET=")
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
        assert len(Settings(_env_file=env_file).signing_secret) >= 48


@pytest.mark.parametrize(
    ("command", "settings", "message"),
    [
        (["uvicorn", "api.main:app"], {"JWT_SECRET": "short"}, "JWT_SECRET is shorter than 32 bytes"),
        (["api"], {"DATABASE_URL": "postgresql://h/d"}, "JWT_SECRET is not set"),
        (["api"], {"JWT_SECRET": SECRET, "PORT": "many"}, "PORT"),
        (["uvicorn", "api.main:app"], {"JWT_SECRET": SECRET}, "DATABASE_URL is not set"),
        (["workers"], {}, "DATABASE_URL is not set"),
        (["workers"], {"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL is not of the form postgresql://"),
        (["workers"], {"LEASE_SECONDS": "0", "DATABASE_URL": "postgresql://h/d"}, "LEASE_SECONDS"),
        (["pipeline", "up"], {"JWT_SECRET": SECRET, "PORT": "many"}, "PORT"),
    ],
)
def test_unfit_settings_are_refused_with_a_clear_message(
    tmp_path: Path, command: list[str], settings: dict[str, str], message: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **settings}
    done = run_module(*command, environment=environment, folder=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_taken_port_is_reported_by_the_api() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {"JWT_SECRET": SECRET, "PORT": port, "API_PROCESSES": "2"}
        done = run_module("api", environment={**os.environ, **settings})
    assert done.returncode != 0
    [line] = done.stderr.splitlines()
    assert line == f"sluice api: cannot listen on 127.0.0.1:{port}: Address already in use; set PORT to another port"


def test_taken_port_is_reported(tmp_path: Path, database_url: str, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {
            **os.environ,
            "JWT_SECRET": SECRET,
            "PORT": str(port),
            "DATA_DIR": str(tmp_path),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
        }
        done = run_module("pipeline", "up", environment=environment)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
