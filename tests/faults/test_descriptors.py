"""Row 45 of the fault matrix: an API and a worker that can open no more files."""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psutil

from tests.databases import run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client, unique
from tests.faults.test_clients import open_socket, read_status, write_request
from tests.faults.test_requests import BOUNDARY, multipart
from tests.processes import LoggedProcess
from tests.waiting import wait_until

SPARE = 10
"""Files that the API may still open."""
CROWD = 50
"""Connections that want more."""
STANDARD_STREAMS = 3
WATCH_SECONDS = 0.5


@contextmanager
def limited_files(process: LoggedProcess, limit: int) -> Iterator[None]:
    """Let the process open no file whose number is `limit` or higher. Open ones stay open."""
    limited = psutil.Process(process.pid)
    before = limited.rlimit(resource.RLIMIT_NOFILE)
    limited.rlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    yield
    limited.rlimit(resource.RLIMIT_NOFILE, before)


def ask(connection: HTTPConnection, client: Client, method: str, path: str, body: bytes = b"", kind: str = "") -> int:
    headers = {"Authorization": client.http.headers["Authorization"], "Content-Type": kind}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def measure_processor(process: LoggedProcess) -> float:
    """Return the share of a processor that the process uses."""
    before = psutil.Process(process.pid).cpu_times()
    time.sleep(WATCH_SECONDS)
    after = psutil.Process(process.pid).cpu_times()
    return (after.user + after.system - before.user - before.system) / WATCH_SECONDS


def test_row_45_api_without_descriptors(cluster: Cluster, client: Client) -> None:
    api = cluster.start_api()
    client.accept(unique("accepted before"))
    address = urlsplit(api.url)
    with closing(HTTPConnection(address.hostname or "", address.port, timeout=20)) as connection:
        assert ask(connection, client, "GET", "/health/live") == 200
        upload = multipart(unique("refused"))
        with limited_files(api, psutil.Process(api.pid).num_fds() + SPARE):
            with ExitStack() as stack:
                for _ in range(CROWD):
                    stack.enter_context(open_socket(api.url))
                assert measure_processor(api) < 0.5
                assert ask(connection, client, "GET", "/health/live") == 200
                kind = f"multipart/form-data; boundary={BOUNDARY}"
                assert ask(connection, client, "POST", "/v1/documents", upload, kind) == 503
                query = b'{"query":"which sentence"}'
                assert ask(connection, client, "POST", "/v1/search", query, "application/json") in (200, 503)
                assert ask(connection, client, "GET", "/health/live") == 200
            wait_until(lambda: cluster.is_ready(api.url), 10, "the API")
            with closing(HTTPConnection(address.hostname or "", address.port, timeout=20)) as later:
                assert ask(later, client, "POST", "/v1/documents", upload, kind) == 202
    cluster.start_worker()
    documents = client.http.get("/v1/documents").json()["items"]
    assert len(documents) == 2
    assert {client.wait(document["id"])["status"] for document in documents} == {"ready"}


def test_row_45_more_connections_than_the_setting_allows(cluster: Cluster, client: Client) -> None:
    api = cluster.start_api(MAX_CONNECTIONS="5")
    address = urlsplit(api.url)
    with ExitStack() as stack:
        for _ in range(5):
            busy = stack.enter_context(open_socket(api.url))
            busy.sendall(write_request(client, "GET", "/v1/events"))
            assert read_status(busy) == 200
        for path, status in (("/v1/users/me", 503), ("/health/live", 200), ("/health/ready", 200)):
            with closing(HTTPConnection(address.hostname or "", address.port, timeout=20)) as connection:
                assert ask(connection, client, "GET", path) == status


def test_row_45_worker_without_descriptors(cluster: Cluster, client: Client) -> None:
    worker = cluster.start_worker()
    client.wait(client.accept(unique("first")))
    with limited_files(worker, STANDARD_STREAMS):
        documents = [client.accept(unique(f"waits {number}")) for number in range(3)]
        wait_until(lambda: worker.has_logged('"code": "overloaded"'), 20, "a document that waits")
        assert {client.show(document)["status"] for document in documents} <= {"pending", "processing"}
    run_sql(cluster.database_url, "UPDATE jobs SET available_at = now()")
    finished = [client.wait(document) for document in documents]
    assert {(document["status"], document["attempts"]) for document in finished} == {("ready", 1)}
    assert worker.is_running
