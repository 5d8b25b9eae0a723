"""Rows 13 to 20 of the fault matrix: workers that die, stop, hang or race."""

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from pipeline.db import queue
from pipeline.db.crashes import MAX_REPEATS
from pipeline.db.session import Database
from pipeline.settings import Settings
from pipeline.types import Stage
from tests.databases import run_sql
from tests.faults.cluster import LEASE_SECONDS, Cluster, find_readers
from tests.faults.history import Client, unique
from tests.waiting import wait_until

RECOVERY_SECONDS = LEASE_SECONDS + 5
ROUNDS = 100
AMID_RINGS = 3
LONG_LINES = 8_000
"""Lines of a document that takes longer to embed than a worker may take to stop."""


@pytest.mark.parametrize("stage", list(Stage))
def test_row_13_worker_killed_at_each_stage(cluster: Cluster, client: Client, stage: Stage) -> None:
    victim = cluster.start_worker(FAULT_HOOK=f"{stage}:crash")
    document_id = client.accept(unique("crash"))
    wait_until(lambda: not victim.is_running, 20, f"the crash at {stage}")
    killed = time.monotonic()
    cluster.start_worker()
    document = client.wait(document_id)
    recovered = time.monotonic() - killed
    print(f"killed at {stage}: ready after {recovered:.1f} s")
    assert document["status"] == "ready"
    # After the commit nothing is left to do.
    assert document["attempts"] == (1 if stage == Stage.STORED else 2)
    assert recovered < RECOVERY_SECONDS


def test_row_15_sigterm_finishes_or_gives_back(cluster: Cluster, client: Client) -> None:
    short = client.accept(unique("short"))
    worker = cluster.start_worker(WORKER_CONCURRENCY="1")
    client.wait(short)
    long = client.accept(unique("long", LONG_LINES))
    waiting = client.accept(unique("waits"))
    wait_until(lambda: client.show(long)["progress"] > 0.45, 90, "the long document is being embedded")
    seconds, code = worker.stop()
    print(f"stopped after {seconds:.1f} s")
    assert (code, seconds < 10) == (0, True)
    document = client.show(long)
    assert (document["status"], document["attempts"]) in {("pending", 0), ("ready", 1)}
    assert client.show(waiting)["attempts"] == 0
    client.http.delete(f"/v1/documents/{long}")
    cluster.start_worker()
    assert client.wait(waiting)["status"] == "ready"


def test_row_15_sigterm_amid_rings(cluster: Cluster, client: Client) -> None:
    """redis-py swallows some cancellations that come while it reads a ring."""
    for number in range(AMID_RINGS):
        worker = cluster.start_worker()
        wait_until(lambda: worker.has_logged("model.loaded"), 30, "the model")  # noqa: B023 - called in this round
        documents = [client.accept(unique(f"ring {number} {ring}")) for ring in range(5)]
        assert worker.stop()[1] == 0, worker.log.read_text()[-3000:]
    cluster.start_worker()
    assert {client.wait(document)["status"] for document in documents} == {"ready"}


def test_row_15_sigterm_while_the_database_is_silent(cluster: Cluster, client: Client) -> None:
    worker = cluster.start_worker()
    document_id = client.accept(unique("silent", LONG_LINES))
    wait_until(lambda: client.show(document_id)["progress"] > 0.45, 90, "the document is being embedded")
    cluster.to_postgres.blackhole()
    seconds, _code = worker.stop(20)
    cluster.heal()
    print(f"stopped after {seconds:.1f} s")
    assert seconds < 10
    client.http.delete(f"/v1/documents/{document_id}")


@pytest.mark.parametrize("stage", [Stage.EMBEDDING, Stage.STORING])
def test_row_16_paused_past_its_lease(cluster: Cluster, client: Client, stage: Stage) -> None:
    paused = cluster.start_worker(FAULT_HOOK=f"{stage}:pause")
    document_id = client.accept(unique("paused"))
    wait_until(lambda: paused.is_stopped, 20, "the pause")
    cluster.start_worker()
    finished = client.wait(document_id, RECOVERY_SECONDS)
    paused.send_signal(signal.SIGCONT)
    wait_until(lambda: paused.has_logged("ingestion.lease_lost"), 10, "the paused worker notices")
    assert client.show(document_id) == finished
    assert (finished["status"], finished["attempts"]) == ("ready", 2)


def test_row_17_eight_workers_race_for_one_document(cluster: Cluster, client: Client) -> None:
    async def race(rounds: int) -> list[int]:
        database = Database(
            cluster.environment["DATABASE_URL"].replace("postgresql", "postgresql+asyncpg", 1),
            pool_size=8,
            timeout_seconds=10,
        )

        async def claim() -> bool:
            async with database.transaction() as session:
                return await queue.claim(session, 60, alone=True) is not None

        winners = []
        for _ in range(rounds):
            winners.append(sum(await asyncio.gather(*(claim() for _ in range(8)))))
            async with database.transaction() as session:
                await session.execute(text("UPDATE jobs SET lease_token = NULL, lease_until = NULL"))
        await database.close()
        return winners

    document_id = client.accept(unique("race"))
    assert asyncio.run(race(ROUNDS)) == [1] * ROUNDS
    cluster.start_worker()
    assert client.wait(document_id)["status"] == "ready"


def test_row_18_event_loop_blocked_for_three_leases(cluster: Cluster, client: Client) -> None:
    blocked = cluster.start_worker(FAULT_HOOK="embedding:block")
    document_id = client.accept(unique("blocked"))
    wait_until(lambda: client.show(document_id)["status"] == "processing", 20, "the claim")
    cluster.start_worker()
    document = client.wait(document_id)
    assert (document["status"], document["attempts"]) == ("ready", 1)
    assert blocked.is_running


def test_row_19_document_that_kills_its_worker_every_time(cluster: Cluster, client: Client) -> None:
    poison = client.accept(unique("poison"))
    others = [client.accept(unique(f"other {number}", 20)) for number in range(30)]
    hook = {"FAULT_HOOK": f"embedding:crash:{poison}", "LEASE_SECONDS": "1"}
    workers = [cluster.start_worker(**hook) for _ in range(2)]
    crashes = 0

    def is_failed() -> bool:
        nonlocal crashes
        for number, worker in enumerate(workers):
            if not worker.is_running:
                crashes += 1
                workers[number] = cluster.start_worker(**hook)
        return client.show(poison)["status"] in {"ready", "failed"}

    wait_until(is_failed, 120, "the document is given up")
    document = client.show(poison)
    assert (document["status"], document["error"]["code"]) == ("failed", "worker_lost")
    assert crashes == 1 + MAX_REPEATS
    finished = [client.wait(other) for other in others]
    assert {other["status"] for other in finished} == {"ready"}
    # Only the documents that the first crashed worker also held are begun again. The others crashed alone.
    beside = Settings.model_fields["worker_concurrency"].default - 1
    assert sum(other["attempts"] - 1 for other in finished) <= beside


def test_row_20_document_longer_than_its_lease(cluster: Cluster, client: Client) -> None:
    cluster.start_worker(LEASE_SECONDS="1")
    cluster.start_worker(LEASE_SECONDS="1")
    document_id = client.accept(unique("long", 1_000))
    started = time.monotonic()
    document = client.wait(document_id, 60)
    print(f"took {time.monotonic() - started:.1f} s")
    assert time.monotonic() - started > 2
    assert (document["status"], document["attempts"]) == ("ready", 1)


@pytest.mark.parametrize("kind", ["python -m workers", "arq"])
def test_row_41_programming_error(cluster: Cluster, client: Client, kind: str) -> None:
    start = cluster.start_arq_worker if kind == "arq" else cluster.start_worker
    worker = start()
    assert client.wait(client.accept(unique("before")))["status"] == "ready"
    run_sql(cluster.database_url, "ALTER TABLE jobs RENAME COLUMN turn TO turned")
    try:
        wait_until(lambda: not worker.is_running, 15, "the worker ends")
    finally:
        run_sql(cluster.database_url, "ALTER TABLE jobs RENAME COLUMN turned TO turn")
    assert worker.returncode == 1
    assert worker.has_logged("worker.failed")
    start()
    assert client.wait(client.accept(unique("after")))["status"] == "ready"


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees the files of a process that hides its memory")
def test_no_child_or_temporary_file_is_left(cluster: Cluster, client: Client) -> None:
    worker = cluster.start_worker()
    assert client.wait(client.accept(unique("clean")))["status"] == "ready"
    assert find_readers(worker) == []
    assert [
        file.path for file in psutil.Process(worker.pid).open_files() if Path(file.path).parent == Path("/tmp")
    ] == []
    assert run_sql(cluster.database_url, "SELECT 1 FROM jobs") == []


def test_rings_are_left_to_workers_with_a_free_slot(cluster: Cluster, client: Client) -> None:
    cluster.start_worker(WORKER_CONCURRENCY="1", POLL_SECONDS="30", FAULT_HOOK=f"{Stage.EMBEDDING}:hang")
    long = client.accept(unique("long"))
    wait_until(lambda: client.show(long)["status"] == "processing", 30, "one worker is full")
    idle = cluster.start_worker(WORKER_CONCURRENCY="1", POLL_SECONDS="30")
    wait_until(lambda: idle.has_logged("model.loaded"), 30, "another worker is idle")
    for number in range(8):
        client.wait(client.accept(unique(f"short {number}")), 10)
    assert client.show(long)["status"] == "processing"
    client.http.delete(f"/v1/documents/{long}")
