"""Debian's PgBouncer in transaction mode, in front of a server of the tests."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.processes import find_port, start_program
from tests.waiting import wait_until

START_SECONDS = 20
CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
ignore_startup_parameters = {ignored}
server_login_retry = 1
"""


def find_pgbouncer() -> str:
    """Return the path of the program, or skip the test."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    return program


@contextmanager
def run_pgbouncer(server_url: str, owner: os.stat_result, *, user: str, ignored: str = "") -> Iterator[str]:
    """Run PgBouncer, which logs in to the server as `user`. Yield the URL of the same database through it.

    It refuses to run as root, so it runs as `owner`. `ignored` names start-up parameters that it drops. It refuses
    connections with any others.
    """
    program, server, own_port = find_pgbouncer(), urlsplit(server_url), find_port()
    with tempfile.TemporaryDirectory(prefix="sluice-pgbouncer-") as name, ExitStack() as resources:
        os.chown(name, owner.st_uid, owner.st_gid)
        file = Path(name) / "pgbouncer.ini"
        file.write_text(
            CONFIGURATION.format(
                host=server.hostname or parse_qs(server.query)["host"][0],
                port=server.port or 5432,
                user=user,
                own_port=own_port,
                ignored=ignored,
            )
        )
        log = resources.enter_context((Path(name) / "log").open("ab"))
        process = start_program(program, file, folder=Path(name), stdout=log, stderr=log, owner=owner)
        resources.callback(process.kill)
        wait_until(lambda: is_listening(own_port), START_SECONDS, "PgBouncer")
        yield f"postgresql://{user}:@127.0.0.1:{own_port}{server.path}"


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
