"""Rows 7 to 12 of the fault matrix: PostgreSQL down, killed, silent, locked, full and crowded."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import asyncpg
import httpx2

from tests.databases import run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client, History, find_losses, unique
from tests.waiting import wait_until

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/v1/users/me", {}),
    ("GET", "/v1/documents", {}),
    ("POST", "/v1/search", {"json": {"query": "x"}}),
    ("POST", "/v1/notes", {"json": {"title": "x", "body": "y"}}),
    ("POST", "/v1/documents", {"files": {"file": ("a.txt", b"refused")}}),
]
"""One request of each kind of route that needs the database, besides the login."""


def ask(client: Client, method: str, path: str, **options: Any) -> tuple[httpx2.Response, float]:
    started = time.monotonic()
    response = client.http.request(method, path, **options)
    return response, time.monotonic() - started


def says_unavailable(client: Client, seconds: float) -> None:
    """Check that every kind of route answers 503 in time. So does readiness; liveness is not affected."""
    requests = [*REQUESTS, ("POST", "/v1/auth/login", {"json": client.credentials})]
    with ThreadPoolExecutor(len(requests)) as threads:
        asked = [threads.submit(ask, client, method, path, **options) for method, path, options in requests]
        answers = [future.result() for future in asked]
    for (_, path, _), (response, took) in zip(requests, answers, strict=True):
        assert response.status_code == 503, (path, response.text)
        assert 1 <= int(response.headers["retry-after"]) <= 120
        assert took < seconds, (path, took)
    response, took = ask(client, "GET", "/health/ready")
    assert (response.status_code, took < 1.5) == (503, True)
    response, took = ask(client, "GET", "/health/live")
    assert (response.status_code, took < 0.5) == (200, True)


def wait_until_ready(client: Client, seconds: float = 15) -> None:
    wait_until(lambda: client.http.get("/health/ready").status_code == 200, seconds, "readiness")


def count_documents(cluster: Cluster) -> int:
    count: int = run_sql(cluster.database_url, "SELECT count(*) FROM documents")[0][0]
    return count


def test_row_07_database_down(cluster: Cluster, client: Client) -> None:
    before = count_documents(cluster)
    cluster.postgres.kill()
    try:
        says_unavailable(client, seconds=2)
    finally:
        cluster.postgres.start()
    wait_until_ready(client)
    assert count_documents(cluster) == before
    assert client.http.get("/v1/users/me").status_code == 200


def test_row_08_database_killed_and_restarted_under_load(cluster: Cluster, client: Client) -> None:
    worker = cluster.start_worker()
    history = History()
    clients = [Client(client.url, history) for _ in range(3)]
    done = threading.Event()

    def load(own: Client) -> None:
        while not done.is_set():
            own.upload(unique(own.id))
            own.call("list", "GET", "/v1/documents")
            own.search()
            time.sleep(0.3)

    with ExitStack() as stack:
        for own in clients:
            stack.enter_context(own)
        threads = stack.enter_context(ThreadPoolExecutor(len(clients)))
        # Ends the loads before the executor waits for them, also if the test fails.
        stack.callback(done.set)
        loads = [threads.submit(load, own) for own in clients]
        outages = []
        for _ in range(2):
            time.sleep(1.5)
            from_ = time.time()
            cluster.postgres.kill()
            time.sleep(1)
            cluster.postgres.start()
            wait_until_ready(client)
            outages.append((from_, time.time()))
        time.sleep(1.5)
        done.set()
        for future in loads:
            future.result()
    print(history.count())
    bad = [answer for answer in history.answers if answer.status not in (200, 202, 503)]
    assert bad == []
    late = [
        answer
        for answer in history.answers
        if answer.status == 503 and not any(start - 0.5 <= answer.at <= end for start, end in outages)
    ]
    assert late == []
    wait_until(lambda: run_sql(cluster.database_url, "SELECT 1 FROM jobs") == [], 60, "the queue is empty")
    assert find_losses(history, cluster.database_url) == []
    assert worker.is_running
    attempts = run_sql(
        cluster.database_url,
        "SELECT DISTINCT attempts FROM documents WHERE owner_id = ANY($1)",
        arguments=([own.id for own in clients],),
    )
    assert [row[0] for row in attempts] == [1]


def test_row_09_database_silent(cluster: Cluster, client: Client) -> None:
    cluster.start_worker()
    document_id = client.accept(unique("before", 1500))
    wait_until(lambda: client.show(document_id)["status"] == "processing", 20, "the claim")
    cluster.to_postgres.blackhole()
    says_unavailable(client, seconds=4.5)
    cluster.heal()
    wait_until_ready(client)
    assert client.wait(document_id, 60)["status"] == "ready"


@contextmanager
def holding_lock(url: str, table: str) -> Iterator[None]:
    """Lock a table in another transaction, as a careless migration does."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(url))
    loop.run_until_complete(connection.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
    try:
        yield
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


def test_row_10_lock_held(cluster: Cluster, client: Client) -> None:
    cluster.start_worker()
    waiting = client.accept(unique("locked", 600))
    with holding_lock(cluster.database_url, "documents"):
        with ThreadPoolExecutor(2) as threads:
            listed = threads.submit(ask, client, "GET", "/v1/documents")
            upload = {"file": ("a.txt", unique("refused"))}
            uploaded = threads.submit(ask, client, "POST", "/v1/documents", files=upload)
        for response, took in (listed.result(), uploaded.result()):
            assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
            assert took < 4.5
        assert ask(client, "GET", "/health/live")[0].status_code == 200
    assert client.wait(waiting, 60)["status"] == "ready"


def test_row_12_connections_exhausted(cluster: Cluster, client: Client) -> None:
    cluster.start_worker()
    waiting = client.accept(unique("crowded", 600))
    loop = asyncio.new_event_loop()
    run_sql(
        cluster.database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'sluice%'",
    )
    held: list[asyncpg.Connection] = []
    try:
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                held.append(loop.run_until_complete(asyncpg.connect(cluster.database_url)))
        response, took = ask(client, "GET", "/v1/documents")
        assert (response.status_code, took < 2.5) == (503, True)
    finally:
        for connection in held:
            loop.run_until_complete(connection.close())
        loop.close()
    wait_until_ready(client)
    assert client.wait(waiting, 60)["status"] == "ready"
