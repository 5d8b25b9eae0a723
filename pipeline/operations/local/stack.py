"""The whole service on this machine: servers, migrations, API and workers, started and stopped together."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import IO

import httpx2
import msgspec
from pydantic import SecretStr
from pydantic_settings import DotEnvSettingsSource

from pipeline.db.models import SERVICE_ROLE
from pipeline.db.requirements import require_prepared
from pipeline.db.schema import reserve_wal
from pipeline.errors import DatabaseUnavailable
from pipeline.metrics import MULTIPROCESS_VARIABLE
from pipeline.operations.local.address import find_port, make_local_url
from pipeline.operations.local.children import Child, Program
from pipeline.operations.local.errors import StackError
from pipeline.operations.local.place import Place, open_place
from pipeline.operations.local.servers import OWNER_ROLE, find_postgres_program, run_postgres, run_valkey
from pipeline.operations.local.system_user import make_private_folder, replace_private_folder
from pipeline.settings import Settings, load_settings, read_assignments

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
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - replace_private_folder makes a folder there that nobody else may enter
API_MAY_NOT_SEE = ("DATABASE_OWNER_URL",)
WORKERS_MAY_NOT_SEE = ("DATABASE_OWNER_URL", "JWT_SECRET", "LIBRECHAT_SECRET", "LLM_API_KEY")


@dataclass(frozen=True)
class Servers:
    """The servers that a stack has started. Those that the settings name are not among them."""

    urls: dict[str, str]
    """URLs by the name of the setting."""
    children: list[Child]

    @property
    def environment(self) -> dict[str, str]:
        """The URLs as environment variables."""
        return {name.upper(): url for name, url in self.urls.items()}


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
                    _log(f"{child.name} exited with {child.process.returncode}; restarting it")
                    time.sleep(RESTART_PAUSE_SECONDS)
                    child.restart()
            time.sleep(WATCH_SECONDS)


def _log(line: str) -> None:
    with suppress(OSError):  # the disk of the log may be full
        print(line, file=sys.stderr, flush=True)


@contextmanager
def run_stack(
    settings: Settings, *, log: IO[bytes] | None = None, report: Callable[[str], None] = lambda _step: None
) -> Iterator[Stack]:
    """Start the service, wait until it is ready, and stop it at the end.

    If DATABASE_URL or REDIS_URL is set, that server is used. Otherwise one is started on `data_dir`. If root starts the
    stack, its processes run as another user. They write to `log`, or to this process's own output. `report` is called
    with each step. Raises StackError, and what `require_prepared` raises if DATABASE_URL is set.
    """
    with ExitStack() as resources:
        try:
            stack = _start(settings, resources, log, report)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise StackError(f"{where}{error.strerror}; correct this, or set DATA_DIR to another folder") from None
        yield stack


def _start(settings: Settings, resources: ExitStack, log: IO[bytes] | None, report: Callable[[str], None]) -> Stack:
    place = resources.enter_context(open_place(settings.data_dir, report))
    is_child_unprivileged = place.system_user is not None
    find_port(settings.host, settings.port, is_child_unprivileged=is_child_unprivileged)
    _require_readable_project(settings, place, report)
    report("starting PostgreSQL and Valkey")
    servers = _start_servers(settings, place, resources)
    resources.enter_context(_publish(place.data_dir, servers.urls))
    if settings.database_url:
        asyncio.run(require_prepared(settings.owner_url))
    report("migrating the database")
    migrate({**os.environ, **servers.environment}, log)
    _reserve_wal(servers)
    port = settings.port or find_port(settings.host, 0)
    report("starting the API and the workers")
    metrics = resources.enter_context(_open_metrics_folder(place))
    environment = {
        **_make_environment(settings, place, report),
        **servers.environment,
        "HOST": settings.host,
        "PORT": str(port),
        MULTIPROCESS_VARIABLE: str(metrics),
    }
    children = resources.enter_context(_run_services(settings, place, environment, log))
    url = make_local_url(settings.host, port)
    _wait_until_ready(url, children, settings.embedding_model)
    return Stack(url, [*servers.children, *children])


def _start_servers(settings: Settings, place: Place, resources: ExitStack) -> Servers:
    children: list[Child] = []
    urls: dict[str, str] = {}
    if settings.database_url is None:
        postgres = resources.enter_context(run_postgres(place))
        children.append(postgres.child)
        service_url = postgres.url.replace(f"//{OWNER_ROLE}:@", f"//{SERVICE_ROLE}:@")
        urls |= {"database_url": service_url, "database_owner_url": postgres.url}
    if settings.redis_url is None:
        valkey = resources.enter_context(run_valkey(place))
        children.append(valkey.child)
        urls["redis_url"] = valkey.url
    return Servers(urls, children)


def _reserve_wal(servers: Servers) -> None:
    if owner_url := servers.urls.get("database_owner_url"):
        try:
            asyncio.run(reserve_wal(owner_url))
        except DatabaseUnavailable as error:
            raise StackError(f"PostgreSQL could not reserve space for its WAL: {error.__cause__}") from None


def _require_readable_project(settings: Settings, place: Place, report: Callable[[str], None]) -> None:
    """Raise StackError if the user of the children cannot run this project."""
    if place.system_user is None:
        return
    place.open_to_children([PROJECT_FOLDER, Path(sys.prefix), Path(sys.base_prefix)], report)
    names = ("alembic.ini", "api/app.py", "pipeline/settings.py", "workers/bell.py")
    files = [*(PROJECT_FOLDER / name for name in names), Path(httpx2.__file__)]
    if settings.database_url is None:
        files.append(find_postgres_program("postgres"))
    place.system_user.require_readable(files)


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


class _Readiness(msgspec.Struct, frozen=True):
    """What `/health/ready` answers. An answer in another form, such as an error of a proxy, has no checks."""

    checks: dict[str, str] = {}


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
    """Write a fresh JWT_SECRET to `.env`, for its owner alone, if neither `.env` nor the environment has one."""
    if os.environ.get("JWT_SECRET") or DotEnvSettingsSource(Settings, env_file).env_vars.get("jwt_secret"):
        return
    text = env_file.read_text() if env_file.exists() else ""
    if text and not text.endswith("\n"):
        text += "\n"
    env_file.touch(mode=0o600)
    env_file.chmod(0o600)
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


@contextmanager
def _open_metrics_folder(place: Place) -> Iterator[Path]:
    """Make an empty folder in which the processes of this stack share their metrics.

    It is in memory where the system has such a folder. The metrics are sparse files that the processes map, and a
    process that writes to such a file on a full disk is killed by SIGBUS.
    """
    name = sha256(os.fsencode(place.data_dir)).hexdigest()[:16]
    folder = MEMORY_FOLDER / f"sluice-{name}" if MEMORY_FOLDER.is_dir() else place.data_dir / "metrics"
    replace_private_folder(folder, place.system_user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_environment(settings: Settings, place: Place, report: Callable[[str], None]) -> dict[str, str]:
    """Return the environment of the API and the workers. The user of the children cannot read `.env`."""
    environment = {**os.environ, **read_assignments(), "PYTHONUNBUFFERED": "1"}
    if settings.jwt_secret:
        environment["JWT_SECRET"] = settings.jwt_secret.get_secret_value()
    if place.system_user:
        environment["HOME"] = str(make_private_folder(place.data_dir / "home", place.system_user))
    environment["MODEL_CACHE"] = str(_open_model_cache(settings, place, report))
    return environment


def _open_model_cache(settings: Settings, place: Place, report: Callable[[str], None]) -> Path:
    """Return the folder of the exported models. It is made for the user of the children if it does not exist.

    If it cannot be made, the children say so in the log, and use another engine.
    """
    folder = settings.model_cache_folder.absolute()
    with suppress(OSError):
        if not folder.exists():
            make_private_folder(folder, place.system_user)
        place.open_to_children([folder], report)
    return folder


def hide(environment: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Return the environment without some variables."""
    return {name: value for name, value in environment.items() if name not in names}


def make_worker_ports(first: int, number: int) -> dict[str, str]:
    """Return the variable that gives a worker, counted from 0, a port of its own if the first one has a port."""
    return {"WORKER_METRICS_PORT": str(first + number)} if first else {}


@contextmanager
def _run_services(
    settings: Settings, place: Place, environment: dict[str, str], log: IO[bytes] | None
) -> Iterator[list[Child]]:
    programs = [("api", "api", hide(environment, API_MAY_NOT_SEE))]
    for number in range(settings.worker_processes):
        own = environment | make_worker_ports(settings.worker_metrics_port, number)
        programs.append((f"worker {number + 1}", "workers", hide(own, WORKERS_MAY_NOT_SEE)))
    children: list[Child] = []
    try:
        for name, module, visible in programs:
            program = Program(
                name=name,
                command=[sys.executable, "-m", module],
                environment=visible,
                folder=PROJECT_FOLDER,
                system_user=place.system_user,
                lock=place.children_lock,
                log=log,
            )
            children.append(Child(program))
        yield children
    finally:
        for child in children:
            child.stop()
        deadline = monotonic() + STOP_SECONDS
        for child in children:
            child.wait_or_kill(deadline)


def _wait_until_ready(url: str, children: list[Child], model: str) -> None:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        for child in children:
            if not child.is_running:
                raise StackError(f"{child.name} exited with {child.process.returncode}; see the log above")
        try:
            response = httpx2.get(f"{url}/health/ready", timeout=2.0)
            if response.status_code == httpx2.codes.OK:
                return
            refuse_mismatch(response.content, model)
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise StackError(f"the API was not ready within {START_SECONDS:g} seconds; see the log above")


def refuse_mismatch(body: bytes, model: str) -> None:
    """Raise StackError if `/health/ready` says that EMBEDDING_MODEL, which names `model`, is not the active model.

    Waiting would not help: the model is changed by `reembed` while the service runs with the active one.
    """
    if msgspec.json.decode(body, type=_Readiness).checks.get("embedding_model") == "mismatch":
        raise StackError(
            f"EMBEDDING_MODEL is {model}, but stored texts have the vectors of the active model, which the log line "
            "model.mismatched above names; set EMBEDDING_MODEL to that model, and change it later with reembed"
        )
