"""The whole service on this machine: servers, migrations, API and workers, started and stopped together."""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

import httpx2
from pydantic import SecretStr

from pipeline.db.models import SERVICE_ROLE
from pipeline.metrics import MULTIPROCESS_VARIABLE
from pipeline.operations.local.children import Child
from pipeline.operations.local.servers import run_postgres, run_valkey
from pipeline.settings import Settings, load_settings

SERVERS_FILE = "servers.json"
"""File in the data folder with the URLs of the servers that a running stack has started."""
PROJECT_FOLDER = Path(__file__).resolve().parents[3]
START_SECONDS = 120.0
"""Time limit for the API to become ready."""
STOP_SECONDS = 8.0
"""Time for the children to exit after SIGTERM, before they are killed."""
WATCH_SECONDS = 0.25
"""Interval at which the children are checked."""
RESTART_PAUSE_SECONDS = 1.0


class StackError(Exception):
    """The stack cannot be started. The message says why."""


@dataclass(frozen=True)
class Stack:
    """A running service."""

    url: str
    children: list[Child]

    def watch(self) -> None:
        """Restart children that exit. Runs until an exception, such as KeyboardInterrupt, ends it."""
        while True:
            for child in self.children:
                if not child.is_running:
                    print(f"{child.name} exited with {child.process.returncode}; restarting it", file=sys.stderr)
                    time.sleep(RESTART_PAUSE_SECONDS)
                    child.restart()
            time.sleep(WATCH_SECONDS)


@contextmanager
def run_stack(
    settings: Settings, *, log: IO[bytes] | None = None, report: Callable[[str], None] = lambda _step: None
) -> Iterator[Stack]:
    """Start the service, wait until it is ready, and stop it at the end.

    If DATABASE_URL or REDIS_URL is set, that server is used. Otherwise one is started on `data_dir`. The children write
    to `log`, or to this process's own output. `report` is called with each step. Raises StackError.
    """
    with ExitStack() as resources:
        resources.enter_context(_lock(settings.data_dir))
        report("starting PostgreSQL and Valkey")
        if settings.database_url:
            database_url = settings.database_url.get_secret_value()
        else:
            owner_url = resources.enter_context(run_postgres(settings.data_dir / "postgres"))
            database_url = owner_url.replace("//postgres:@", f"//{SERVICE_ROLE}:@")
        redis_url = (
            settings.redis_url.get_secret_value()
            if settings.redis_url
            else resources.enter_context(run_valkey(settings.data_dir / "valkey"))
        )
        own = {} if settings.redis_url else {"redis_url": redis_url}
        if not settings.database_url:
            own |= {"database_url": database_url, "database_owner_url": owner_url}
        resources.enter_context(_publish(settings.data_dir, own))
        env = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "PYTHONUNBUFFERED": "1"}
        if not settings.database_url:
            env["DATABASE_OWNER_URL"] = owner_url
        env[MULTIPROCESS_VARIABLE] = str(_clear_metrics(settings.data_dir / "metrics"))
        if settings.jwt_secret:
            env["JWT_SECRET"] = settings.jwt_secret.get_secret_value()
        report("migrating the database")
        migrate(env, log)
        port = settings.port or _find_free_port(settings.host)
        _require_free_port(settings.host, port)
        report("starting the API and the workers")
        children = resources.enter_context(_run_children(settings, port, env, log))
        host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - a comparison
        url = f"http://{host}:{port}"
        _wait_until_ready(url, children)
        yield Stack(url, children)


@contextmanager
def _publish(data_dir: Path, servers: dict[str, str]) -> Iterator[None]:
    """Write the URLs of this stack's own servers to a file while they run, for commands in another terminal."""
    file = data_dir / SERVERS_FILE
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(json.dumps(servers))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def load_operator_settings() -> Settings:
    """Read the settings. For servers that are not set, use those of the stack that runs on `data_dir`.

    Raises SettingsError.
    """
    settings = load_settings()
    try:
        servers = json.loads((settings.data_dir / SERVERS_FILE).read_text())
    except (OSError, ValueError):
        return settings
    # Both database URLs must name the same database, so never combine one from the settings with one from the stack.
    is_named = {"redis_url": settings.redis_url is not None}
    return settings.model_copy(
        update={
            name: SecretStr(url)
            for name, url in servers.items()
            if not is_named.get(name, settings.database_url or settings.database_owner_url)
        }
    )


def ensure_secret(env_file: Path) -> None:
    """Write a fresh JWT_SECRET to `.env` if neither `.env` nor the environment has one."""
    if os.environ.get("JWT_SECRET"):
        return
    text = env_file.read_text() if env_file.exists() else ""
    if any(line.strip().startswith("JWT_SECRET=") for line in text.splitlines()):
        return
    if text and not text.endswith("\n"):
        text += "\n"
    env_file.touch(mode=0o600)
    env_file.write_text(f"{text}JWT_SECRET={secrets.token_urlsafe(48)}\n")


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGINT. Further signals are ignored, so they do not interrupt the stop."""

    def interrupt(_number: int, _frame: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _lock(data_dir: Path) -> Iterator[None]:
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"another stack uses {data_dir}; stop it, or set DATA_DIR") from None
        yield


def migrate(env: Mapping[str, str], log: IO[bytes] | None = None) -> None:
    """Run the migrations on the database that `env` names.

    Raises StackError if they fail.
    """
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        env=env,
        cwd=PROJECT_FOLDER,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    if done.returncode:
        raise StackError("the database could not be migrated; see the log above")


def _clear_metrics(folder: Path) -> Path:
    """Create an empty folder in which the processes of this stack share their metrics."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder.resolve()


@contextmanager
def _run_children(settings: Settings, port: int, env: dict[str, str], log: IO[bytes] | None) -> Iterator[list[Child]]:
    api_env = {**env, "HOST": settings.host, "PORT": str(port), "API_PROCESSES": str(settings.api_processes)}
    children: list[Child] = []
    try:
        children.append(Child("api", [sys.executable, "-m", "api"], env=api_env, cwd=PROJECT_FOLDER, log=log))
        for number in range(settings.worker_processes):
            worker = [sys.executable, "-m", "workers"]
            children.append(Child(f"worker {number + 1}", worker, env=env, cwd=PROJECT_FOLDER, log=log))
        yield children
    finally:
        for child in children:
            child.terminate()
        deadline = monotonic() + STOP_SECONDS
        for child in children:
            child.wait_or_kill(deadline)


def _wait_until_ready(url: str, children: list[Child]) -> None:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        for child in children:
            if not child.is_running:
                raise StackError(f"{child.name} exited with {child.process.returncode}; see the log above")
        try:
            if httpx2.get(f"{url}/health/ready", timeout=2.0).status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise StackError(f"the API was not ready within {START_SECONDS:g} seconds; see the log above")


def _find_free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _require_free_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(f"cannot listen on {host}:{port}: {error.strerror}; set PORT") from None
