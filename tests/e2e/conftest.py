"""The service in processes of its own, which tests may kill."""

import contextlib
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest

from pipeline.operations.local.stack import SERVERS_FILE
from tests.processes import start_module
from tests.service import SECRET, Client, Service

START_SECONDS = 120
STOP_SECONDS = 20


class Up(Client):
    """`make up` without make: `python -m pipeline up` with settings of the test."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        environment = {
            **os.environ,
            "DATA_DIR": str(data_dir),
            "PORT": "0",
            "JWT_SECRET": SECRET,
            "LEASE_SECONDS": "3",
            "DATABASE_TIMEOUT_SECONDS": "20",
            **settings,
        }
        with (data_dir / "log.jsonl").open("ab") as log:
            # SIGTERM, so that it can still stop PostgreSQL when the test process is killed.
            self.process = start_module(
                *("pipeline", "up"),
                environment=environment,
                stdout=PIPE,
                stderr=log,
                death_signal=signal.SIGTERM,
            )
        super().__init__(self._read_url())

    def _read_url(self) -> str:
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        try:
            assert self.process.stdout
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        assert line.startswith("ready http://127.0.0.1:"), (self.data_dir / "log.jsonl").read_text()[-3000:]
        return line.split()[1]

    @property
    def servers(self) -> dict[str, str]:
        """The URLs of its servers, by the name of the setting."""
        servers: dict[str, str] = json.loads((self.data_dir / SERVERS_FILE).read_text())
        return servers

    def find_processes(self, part: str) -> list[psutil.Process]:
        """Return the child processes with these words in their command line, without extraction children."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if part in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Stop everything; return the seconds that it took."""
        self.close()
        started = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
        return time.monotonic() - started


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # Not pytest's tmp_path: sockets need short paths.
    with tempfile.TemporaryDirectory(prefix="sluice-e2e-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def service(
    postgres_url: str, template_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service for all tests of this process. Each test has accounts of its own."""
    assert template_url
    service = Service(tmp_path_factory.mktemp("service"), postgres_url, redis_url)
    yield service
    service.stop()
