"""Rows 1 to 6 of the fault matrix: Redis absent, killed, emptied, silent, full, read-only, with a password."""

import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from tests.databases import run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client, unique
from tests.waiting import wait_until

SEARCHES = 100
PAUSE_SECONDS = 0.3
"""Between two uploads that try whether Redis is used again."""
NO_REDIS = "redis://127.0.0.1:1/0"


def works(cluster: Cluster, client: Client, *, redis_is: str) -> None:
    """Check that everything works without waiting for Redis, and that readiness reports the state of Redis."""
    started = time.monotonic()
    documents = [client.accept(unique("whatever befalls Redis")) for _ in range(2)]
    # Generous, for the machine may be busy. tests/integration checks what a silent Redis may cost.
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


@pytest.fixture
def fresh(cluster: Cluster, client: Client) -> Iterator[Client]:
    """A user of a new API, whose circuit breaker no other test has opened."""
    assert client, "its teardown deletes all users"
    with Client(cluster.start_api().url) as fresh:
        yield fresh


def test_row_01_redis_never_started(cluster: Cluster, fresh: Client) -> None:
    cluster.to_valkey.refuse()
    worker = cluster.start_worker()
    before = count_failures(fresh)
    works(cluster, fresh, redis_is="degraded")
    wait_until(lambda: count_failures(fresh) > before, 5, "the failures in the metrics")
    with Client(cluster.start_api().url) as other:
        works(cluster, other, redis_is="degraded")
    assert worker.is_running


def test_row_02_redis_dies_between_commit_and_ring(cluster: Cluster, fresh: Client) -> None:
    """The connection breaks while the API rings: the command has left, but not as a whole."""
    cluster.start_worker(REDIS_URL=NO_REDIS)  # not woken by rings: it must look
    fresh.wait(fresh.accept(unique("warm")))
    before = count_failures(fresh)
    cluster.to_valkey.cut_after(20)
    document = fresh.accept(unique("rings in vain"))
    assert fresh.wait(document)["status"] == "ready"
    wait_until(lambda: count_failures(fresh) == before + 1, 5, "one failure in the metrics")


def test_row_03_redis_killed_while_workers_run(cluster: Cluster, fresh: Client) -> None:
    worker = cluster.start_worker(POLL_SECONDS="60")  # only a ring wakes it
    documents = [fresh.accept(unique(f"waits {number}", 100)) for number in range(10)]
    cluster.valkey.kill()
    documents += [fresh.accept(unique(f"comes {number}", 100)) for number in range(5)]
    cluster.valkey.start()

    def is_heard() -> bool:
        # Jobs are claimed in order: if the last one is claimed, no earlier one still waits for a ring.
        documents.append(fresh.accept(unique("is heard")))
        with suppress(AssertionError):
            wait_until(lambda: fresh.show(documents[-1])["status"] != "pending", 2, "it is claimed")
            return True
        return False

    wait_until(is_heard, 90, "a ring is heard")
    finished = [fresh.wait(document) for document in documents]
    assert {(document["status"], document["attempts"]) for document in finished} == {("ready", 1)}
    assert worker.is_running


def test_row_04_redis_emptied_with_documents_waiting(cluster: Cluster, client: Client) -> None:
    documents = [client.accept(unique(f"waits {number}")) for number in range(40)]
    cluster.valkey.empty()
    cluster.start_worker()
    finished = [client.wait(document, 120) for document in documents]
    assert {(document["status"], document["attempts"]) for document in finished} == {("ready", 1)}


def test_row_05_redis_silent_on_open_connections_too(cluster: Cluster, fresh: Client) -> None:
    worker = cluster.start_worker()
    works(cluster, fresh, redis_is="ok")
    normal = measure_searches(fresh)
    cluster.to_valkey.blackhole()
    first, *stalled = measure_searches(fresh)
    ratio = statistics.quantiles(stalled, n=100)[98] / statistics.quantiles(normal, n=100)[98]
    print(f"search with a silent Redis: first {first:.3f} s, then p99 {ratio:.2f} times the normal one")
    assert first < 3
    # Only one search in five seconds pays the budget. If the median pays it, the breaker does not hold.
    assert statistics.median(stalled) < statistics.median(normal) + 0.05
    works(cluster, fresh, redis_is="degraded")
    guesses = [{**fresh.credentials, "password": f"guess number {number}"} for number in range(6)]
    answers = [fresh.http.post("/v1/auth/login", json=guess).status_code for guess in guesses]
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


def test_row_06_redis_refuses_the_ring_itself(cluster: Cluster, client: Client) -> None:
    """Without rate limits the ring is the first command that Redis refuses."""
    assert client, "its teardown checks the invariants"
    cluster.start_worker(REDIS_URL=NO_REDIS)
    api = cluster.start_api(
        RATE_LIMIT_LOGIN="",
        RATE_LIMIT_LOGIN_ADDRESS="",
        RATE_LIMIT_REGISTRATION_ADDRESS="",
        RATE_LIMIT_UPLOAD="",
        RATE_LIMIT_QUERY="",
    )
    with Client(api.url) as own, redis.Redis(port=cluster.valkey.port, single_connection_client=True) as admin:
        admin.execute_command("DEL", "sluice:rings")
        admin.execute_command("SET", "sluice:rings", "no queue")
        document = own.accept(unique("rings a wrong bell"))
        admin.execute_command("DEL", "sluice:rings")
        assert own.wait(document)["status"] == "ready"
        assert count_failures(own) == 1


def test_redis_stopped_as_a_process(cluster: Cluster, client: Client) -> None:
    cluster.start_worker()
    cluster.valkey.process.send_signal(signal.SIGSTOP)
    try:
        works(cluster, client, redis_is="degraded")
    finally:
        cluster.valkey.process.send_signal(signal.SIGCONT)
