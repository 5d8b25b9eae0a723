"""The parts alone, as an operator starts them: several of each against the same servers."""

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.databases import find_violations, run_sql
from tests.e2e.conftest import PROJECT, SECRET


@contextmanager
def running(
    command: list[str], environment: dict[str, str], folder: Path = PROJECT
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "DATABASE_TIMEOUT_SECONDS": "20",
        "REDIS_URL": redis_url,
        "JWT_SECRET": SECRET,
    }


def wait_for(url: str, health: str = "ready") -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/health/{health}", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{url} is not ready")


def test_two_apis_and_two_kinds_of_worker_share_the_work(environment: dict[str, str], database_url: str) -> None:
    ports = [find_port(), find_port()]
    with ExitStack() as stack:
        stack.enter_context(running(["-m", "api"], {**environment, "PORT": str(ports[0])}))
        stack.enter_context(running(["-m", "uvicorn", "api.main:app", "--port", str(ports[1])], environment))
        supervised = stack.enter_context(running(["-m", "workers"], environment))
        by_arq = stack.enter_context(running(["-m", "arq", "workers.main.WorkerSettings"], environment))
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            wait_for(url)
        credentials = {"email": "parts@example.org", "password": "password of a test"}
        httpx2.post(f"{urls[0]}/v1/auth/register", json=credentials).raise_for_status()
        token = httpx2.post(f"{urls[1]}/v1/auth/login", json=credentials).raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}

        def ingest(number: int) -> str:
            with httpx2.Client(base_url=urls[number % 2], headers=headers, timeout=60) as client:
                text = "\n".join(f"Line {line} of text {number}." for line in range(300))
                response = client.post("/v1/documents", files={"file": (f"{number}.txt", text.encode())})
                assert response.status_code == 202, response.text
                for _ in range(10):
                    document = client.get(response.headers["location"], headers={"Prefer": "wait=15"}).json()
                    if document["status"] in ("ready", "failed"):
                        return str(document["status"])
                return str(document["status"])

        with ThreadPoolExecutor(20) as threads:
            statuses = Counter(threads.map(ingest, range(20)))
        assert statuses == {"ready": 20}
        assert find_violations(database_url) == {}
        assert supervised.poll() is None
        assert by_arq.poll() is None
    assert supervised.returncode == 0
    assert by_arq.returncode == 0


def test_worker_that_is_stopped_while_it_loads_its_model_does_not_wait_for_it(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "workers"]
    worker = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not any("libtorch" in part.path for part in psutil.Process(worker.pid).memory_maps()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        worker.terminate()
        _, log = worker.communicate(timeout=15)
    finally:
        worker.kill()
    assert worker.returncode == 0
    assert b"worker.stopped" in log.splitlines()[-1]


def test_supervised_worker_outlives_redis(environment: dict[str, str], database_url: str) -> None:
    environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    port = find_port()
    with (
        running(["-m", "api"], {**environment, "PORT": str(port)}),
        running(["-m", "workers"], environment) as worker,
    ):
        url = f"http://127.0.0.1:{port}"
        wait_for(url)
        assert httpx2.get(f"{url}/health/ready").json()["checks"]["redis"] == "degraded"
        credentials = {"email": "parts@example.org", "password": "password of a test"}
        httpx2.post(f"{url}/v1/auth/register", json=credentials).raise_for_status()
        token = httpx2.post(f"{url}/v1/auth/login", json=credentials).raise_for_status().json()["access_token"]
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
            location = client.post("/v1/documents", files={"file": ("a.txt", b"some text")}).headers["location"]
            deadline = time.monotonic() + 60
            while client.get(location).json()["status"] != "ready":
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert worker.poll() is None
    assert find_violations(database_url) == {}


def test_followers_lose_nothing_when_the_api_is_stopped_and_started_again(
    environment: dict[str, str], database_url: str
) -> None:
    port = find_port()
    url = f"http://127.0.0.1:{port}"
    api = ["-m", "api"]
    with ExitStack() as stack:
        with running(api, {**environment, "PORT": str(port)}):
            wait_for(url, "live")
            credentials = {"email": "parts@example.org", "password": "password of a test"}
            httpx2.post(f"{url}/v1/auth/register", json=credentials).raise_for_status()
            token = httpx2.post(f"{url}/v1/auth/login", json=credentials).raise_for_status().json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            stream = stack.enter_context(httpx2.stream("GET", f"{url}/v1/events", headers=headers, timeout=30))
            assert stream.headers["content-type"].startswith("text/event-stream")
            events = read_events(stream)
            upload = httpx2.post(f"{url}/v1/documents", headers=headers, files={"file": ("a.txt", b"some text")})
            event = next(events)
            assert event["event"] == "document"
            assert json.loads(event["data"]) == upload.json()
            stopped_at = time.monotonic()
        assert time.monotonic() - stopped_at < 4, "the open stream held up the stop, which then takes 5 s"
        with pytest.raises(httpx2.RemoteProtocolError):
            next(events)
    run_sql(database_url, "UPDATE documents SET progress = 0.5, updated_at = clock_timestamp()")
    with running(api, {**environment, "PORT": str(port)}):
        wait_for(url, "live")
        behind = {**headers, "Last-Event-ID": event["id"]}
        with httpx2.stream("GET", f"{url}/v1/events", headers=behind, timeout=30) as stream:
            assert json.loads(next(read_events(stream))["data"])["progress"] == 0.5


def read_events(response: httpx2.Response) -> Iterator[dict[str, str]]:
    """Events that have data, as they arrive."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            event[name] = value
        elif "data" in event:
            yield event
            event = {}
        else:
            event = {}
