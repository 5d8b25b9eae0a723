"""The whole service as an operator runs it, in processes that tests may kill."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
SECRET = secrets.token_urlsafe(48)


class Up:
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
        self.log = (data_dir / "log.jsonl").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "up"],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.url = self._read_url()
        self.client = httpx2.Client(base_url=self.url, timeout=60)

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

    def login(self, name: str | None = None) -> dict[str, str]:
        """Headers of a new account."""
        credentials = {"email": f"{name or secrets.token_hex(4)}@example.org", "password": "password of a test"}
        self.client.post("/v1/auth/register", json=credentials)
        response = self.client.post("/v1/auth/login", json=credentials)
        return {"Authorization": f"Bearer {response.raise_for_status().json()['access_token']}"}

    def upload(self, headers: dict[str, str], name: str, content: bytes) -> httpx2.Response:
        return self.client.post("/v1/documents", headers=headers, files={"file": (name, content)})

    def show(self, headers: dict[str, str], document_id: str) -> dict[str, Any]:
        response = self.client.get(f"/v1/documents/{document_id}", headers=headers)
        document: dict[str, Any] = response.raise_for_status().json()
        return document

    def wait(
        self, headers: dict[str, str], document_id: str, until: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any]:
        """The document when it is terminal, or what else is waited for."""
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline:
            document = self.show(headers, document_id)
            if document["status"] in ("ready", "failed") or (until and until(document)):
                return document
            time.sleep(0.05)
        raise AssertionError(f"not terminal in time: {document}")

    def search(self, headers: dict[str, str], query: str, **options: Any) -> list[dict[str, Any]]:
        response = self.client.post("/v1/search", headers=headers, json={"query": query, **options})
        passages: list[dict[str, Any]] = response.raise_for_status().json()["passages"]
        return passages

    def find_processes(self, part: str) -> list[psutil.Process]:
        """Child processes with these words in their command line, extraction children excepted."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if part in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Stop everything; returns the seconds that it took."""
        self.client.close()
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(timeout=20)
        finally:
            self.process.kill()
            self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()
            self.log.close()
        return time.monotonic() - started


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sluice-e2e-") as folder:
        yield Path(folder)
