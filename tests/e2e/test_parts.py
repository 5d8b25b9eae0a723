"""The parts alone, as an operator starts them: several of each on the same servers."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from subprocess import PIPE

import httpx2
import psutil
import pytest

from tests.databases import find_violations, run_sql
from tests.processes import find_port, start_program
from tests.service import PASSWORD, SECRET, request, running, wait_until_answering
from tests.waiting import wait_until

CREDENTIALS = {"email": "parts@example.org", "password": PASSWORD}


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "DATABASE_TIMEOUT_SECONDS": "20",
        "REDIS_URL": redis_url,
        "JWT_SECRET": SECRET,
    }


def sign_up(registering: str, logging_in: str) -> dict[str, str]:
    """Register at one API and log in at another; return the headers."""
    request("POST", f"{registering}/v1/auth/register", json=CREDENTIALS).raise_for_status()
    response = request("POST", f"{logging_in}/v1/auth/login", json=CREDENTIALS).raise_for_status()
    return {"Authorization": f"Bearer {response.json()['access_token']}"}


def test_two_apis_and_two_kinds_of_worker_share_the_work(environment: dict[str, str], database_url: str) -> None:
    ports = [find_port(), find_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        stack.enter_context(running("api", environment={**environment, "PORT": str(ports[0])}))
        stack.enter_context(running("uvicorn", "api.main:app", "--port", str(ports[1]), environment=environment))
        supervised = stack.enter_context(running("workers", environment=environment))
        by_arq = stack.enter_context(running("arq", "workers.main.WorkerSettings", environment=environment))
        for url in urls:
            wait_until_answering(url)
        headers = sign_up(*urls)

        def ingest(number: int) -> str:
            with httpx2.Client(base_url=urls[number % 2], headers=headers, timeout=60, verify=False) as client:
                text = "\n".join(f"Line {line} of text {number}." for line in range(100))
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
        assert supervised.is_running
        assert by_arq.is_running
    assert supervised.returncode == 0
    assert by_arq.returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees the files of a process that hides its memory")
def test_worker_that_is_stopped_while_it_loads_its_model_does_not_wait_for_it(environment: dict[str, str]) -> None:
    # A new interpreter: the launcher has loaded OpenVINO already.
    with start_program(sys.executable, "-m", "workers", environment=environment, stderr=PIPE) as worker:
        memory = psutil.Process(worker.pid)
        wait_until(lambda: any("libopenvino" in part.path for part in memory.memory_maps()), 60, "OpenVINO is loaded")
        worker.terminate()
        _, log = worker.communicate(timeout=15)
    assert worker.returncode == 0
    assert "worker.stopped" in log.splitlines()[-1]


def test_supervised_worker_outlives_redis(environment: dict[str, str], database_url: str) -> None:
    environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    port = find_port()
    url = f"http://127.0.0.1:{port}"
    with (
        running("api", environment={**environment, "PORT": str(port)}),
        running("workers", environment=environment) as worker,
    ):
        wait_until_answering(url)
        assert request("GET", f"{url}/health/ready").json()["checks"]["redis"] == "degraded"
        with httpx2.Client(base_url=url, headers=sign_up(url, url), timeout=60, verify=False) as client:
            location = client.post("/v1/documents", files={"file": ("a.txt", b"some text")}).headers["location"]
            wait_until(lambda: client.get(location).json()["status"] == "ready", 60, "the document is ready")
        assert worker.is_running
    assert find_violations(database_url) == {}


def test_followers_lose_nothing_when_the_api_is_stopped_and_started_again(
    environment: dict[str, str], database_url: str
) -> None:
    environment["PORT"] = str(find_port())
    url = f"http://127.0.0.1:{environment['PORT']}"
    with ExitStack() as stack:
        with running("api", environment=environment):
            wait_until_answering(url, "live")
            headers = sign_up(url, url)
            stream = stack.enter_context(httpx2.stream("GET", f"{url}/v1/events", headers=headers, timeout=30))
            assert stream.headers["content-type"].startswith("text/event-stream")
            events = read_events(stream)
            upload = request("POST", f"{url}/v1/documents", headers=headers, files={"file": ("a.txt", b"some text")})
            event = next(events)
            assert event["event"] == "document"
            assert json.loads(event["data"]) == upload.json()
            stopped_at = time.monotonic()
        assert time.monotonic() - stopped_at < 4, "the open stream delayed the stop, which then takes 5 s"
        with pytest.raises(httpx2.RemoteProtocolError):
            next(events)
    run_sql(database_url, "UPDATE documents SET progress = 0.5, updated_at = clock_timestamp()")
    with running("api", environment=environment):
        wait_until_answering(url, "live")
        resumed = {**headers, "Last-Event-ID": event["id"]}
        with httpx2.stream("GET", f"{url}/v1/events", headers=resumed, timeout=30) as stream:
            assert json.loads(next(read_events(stream))["data"])["progress"] == 0.5


def read_events(response: httpx2.Response) -> Iterator[dict[str, str]]:
    """Yield events that have data, as they arrive."""
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
