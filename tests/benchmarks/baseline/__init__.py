"""The baseline: what people often write themselves. It is measured beside the service."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.benchmarks.processes import Service
from tests.benchmarks.stack import Servers

FOLDER = Path(__file__).parent
START_SECONDS = 120


@contextmanager
def run_baseline(python: Path, servers: Servers, database: str) -> Iterator[Service]:
    """Serve the baseline on a new database, with the Python of its own virtual environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = servers.make_database(database).replace("://", "+psycopg://", 1)
    command = [str(python), "-m", "uvicorn", "server:app", "--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "DATABASE_URL": url, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, cwd=FOLDER, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield Service(address, process.pid, servers.process_ids)
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx2.get(f"{url}/docs")
        except httpx2.TransportError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("the baseline did not start; see its messages above")
