"""Rows 1 to 6 of the fault matrix: Redis absent, killed, emptied, silent, full, read-only, behind a password."""

import signal
import statistics
import time

import pytest
import redis

from tests.databases import run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client
from tests.faults.test_workers import unique
from tests.waiting import wait_until

SEARCHES = 100
REST_SECONDS = 5.5
"""After so long Redis is tried again."""


def works(cluster: Cluster, client: Client, *, redis_is: str) -> None:
    """Everything works, without waiting for Redis, and says how Redis is."""
    started = time.monotonic()
    documents = [client.accept(unique("whatever befalls Redis")) for _ in range(2)]
    # Roomy, for the machine may be busy; what a silent Redis may cost exactly is tested in tests/integration.
    assert time.monotonic() - started < 3
    for document in documents:
        assert client.wait(document)["status"] == "ready"
    assert client.http.get("/v1/users/me").status_code == 200
    note = client.http.post("/v1/notes", json={"title": "x", "body": "y"})
    assert note.status_code == 201
    assert client.http.delete(f"/v1/notes/{note.json()['id']}").status_code == 204
    ready = client.http.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["redis"]) == (200, redis_is)
    wait_until(lambda: run_sql(cluster.database_url, "SELECT 1 FROM jobs") == [], 20, "the queue is empty")


def measure_searches(client: Client) -> list[float]:
    seconds = []
    for number in range(SEARCHES):
        started = time.perf_counter()
        response = client.search(f"question number {number}")
        assert response is not None
        assert response.status_code == 200
        seconds.append(time.perf_counter() - started)
    return seconds


def count_failures(client: Client) -> float:
    lines = client.http.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("sluice_redis_failures_total "))


def test_row_01_redis_never_started(cluster: Cluster, client: Client) -> None:
    cluster.to_valkey.refuse()
    time.sleep(REST_SECONDS)
    worker = cluster.start_worker()
    _api, url = cluster.start_api()
    before = count_failures(client)
    works(cluster, client, redis_is="degraded")
    assert count_failures(client) > before
    other = Client(url)
    works(cluster, other, redis_is="degraded")
    other.http.close()
    assert worker.is_running


def test_row_02_redis_dies_between_commit_and_ring(cluster: Cluster, client: Client) -> None:
    """The connection breaks within the ring itself: the order has left, the rest of it never arrives."""
    cluster.start_worker(REDIS_URL="redis://127.0.0.1:1/0")  # this one is not woken: it has to look
    time.sleep(REST_SECONDS)
    client.wait(client.accept(unique("warm")))
    before = count_failures(client)
    cluster.to_valkey.cut_after(20)
    document = client.accept(unique("rings in vain"))
    assert client.wait(document)["status"] == "ready"
    assert count_failures(client) == before + 1


def test_row_03_redis_killed_while_workers_run(cluster: Cluster, client: Client) -> None:
    worker = cluster.start_worker(POLL_SECONDS="60")  # only a ring wakes it
    documents = [client.accept(unique(f"waits {number}", 100)) for number in range(10)]
    cluster.valkey.kill()
    documents += [client.accept(unique(f"comes {number}", 100)) for number in range(5)]
    cluster.valkey.start()
    time.sleep(REST_SECONDS)
    documents.append(client.accept(unique("is heard")))
    finished = [client.wait(document) for document in documents]
    assert {(document["status"], document["attempts"]) for document in finished} == {("ready", 1)}
    assert worker.is_running


def test_row_04_redis_emptied_with_documents_waiting(cluster: Cluster, client: Client) -> None:
    documents = [client.accept(unique(f"waits {number}")) for number in range(100)]
    cluster.valkey.empty()
    cluster.start_worker()
    finished = [client.wait(document, 120) for document in documents]
    assert {(document["status"], document["attempts"]) for document in finished} == {("ready", 1)}


def test_row_05_redis_silent_on_open_connections_too(cluster: Cluster, client: Client) -> None:
    worker = cluster.start_worker()
    time.sleep(REST_SECONDS)
    works(cluster, client, redis_is="ok")
    normal = measure_searches(client)
    cluster.to_valkey.blackhole()
    first, *stalled = measure_searches(client)
    ratio = statistics.quantiles(stalled, n=100)[98] / statistics.quantiles(normal, n=100)[98]
    print(f"search with Redis stalled: first {first:.3f} s, then p99 {ratio:.2f} times the normal one")
    assert first < 3
    # At most one in five seconds pays the budget; a median that pays it means that the breaker does not hold.
    assert statistics.median(stalled) < statistics.median(normal) + 0.05
    works(cluster, client, redis_is="degraded")
    guesses = [{**client.credentials, "password": f"guess number {number}"} for number in range(6)]
    answers = [client.http.post("/v1/auth/login", json=guess).status_code for guess in guesses]
    assert answers == [401] * 5 + [429]
    assert worker.is_running


@pytest.mark.parametrize(
    ("order", "undo", "redis_is"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "ok"),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "ok"),
        (("SET", "sluice:rings", "no queue"), ("DEL", "sluice:rings"), "ok"),
        (("CONFIG", "SET", "requirepass", "secret"), ("CONFIG", "SET", "requirepass", ""), "degraded"),
    ],
    ids=["read-only", "full", "wrong type", "password"],
)
def test_row_06_redis_refuses(
    cluster: Cluster, client: Client, order: tuple[str, ...], undo: tuple[str, ...], redis_is: str
) -> None:
    worker = cluster.start_worker()
    with redis.Redis(port=cluster.valkey.port, single_connection_client=True) as admin:
        admin.execute_command("DEL", "sluice:rings")
        admin.execute_command(*order)
        try:
            admin.execute_command("CLIENT", "KILL", "SKIPME", "yes")
            works(cluster, client, redis_is=redis_is)
        finally:
            admin.execute_command(*undo)
    assert worker.is_running


def test_row_06_redis_refuses_the_ring_itself(cluster: Cluster) -> None:
    """Without rate limits nobody finds out before the ring does."""
    cluster.start_worker(REDIS_URL="redis://127.0.0.1:1/0")
    api, url = cluster.start_api(RATE_LIMIT_LOGIN="", RATE_LIMIT_UPLOAD="", RATE_LIMIT_QUERY="")
    client = Client(url)
    with redis.Redis(port=cluster.valkey.port, single_connection_client=True) as admin:
        admin.execute_command("DEL", "sluice:rings")
        admin.execute_command("SET", "sluice:rings", "no queue")
        document = client.accept(unique("rings a wrong bell"))
        admin.execute_command("DEL", "sluice:rings")
    assert client.wait(document)["status"] == "ready"
    assert count_failures(client) == 1
    client.http.close()
    api.stop()


def test_redis_stopped_as_a_process(cluster: Cluster, client: Client) -> None:
    cluster.start_worker()
    cluster.valkey.signal(signal.SIGSTOP)
    try:
        works(cluster, client, redis_is="degraded")
    finally:
        cluster.valkey.signal(signal.SIGCONT)
