"""Rows 34 and 35 of the fault matrix: the clock of PostgreSQL steps back and forward by an hour."""

import time
from collections.abc import Iterator

import pytest

from pipeline.types import Stage
from tests.databases import run_sql
from tests.faults.cluster import FAKETIME, LEASE_SECONDS, Cluster
from tests.faults.history import Client, unique
from tests.waiting import wait_until

HOUR = 3600
RECOVERY_SECONDS = LEASE_SECONDS + 5

pytestmark = pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not installed")


@pytest.fixture
def stepping(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a PostgreSQL whose clock can be moved."""
    cluster.postgres.restart_with_clock()
    yield cluster
    cluster.kill_processes()
    cluster.postgres.restart_without_clock()
    wait_until(lambda: cluster.is_ready(cluster.shared_api.url), 30, "readiness")


def step_clock(cluster: Cluster, seconds: int) -> None:
    """Step the clock of PostgreSQL, and wait until it has noticed."""

    def measure_clock() -> float:
        now = "extract(epoch FROM clock_timestamp())::float8"
        return float(run_sql(cluster.database_url, f"SELECT {now}")[0][0])

    before = measure_clock()
    cluster.postgres.step_clock(seconds)
    wait_until(lambda: abs(measure_clock() - before) > HOUR / 2, 10, "the step")


def test_row_34_clock_steps_back(client: Client, stepping: Cluster) -> None:
    victim = stepping.start_worker(FAULT_HOOK=f"{Stage.EMBEDDING}:hang", WORKER_CONCURRENCY="1")
    held, waiting = (client.accept(unique(name)) for name in ("held", "waiting"))
    wait_until(lambda: client.show(held)["status"] == "processing", 30, "the claim")
    step_clock(stepping, -HOUR)
    victim.kill()
    stepping.start_worker()
    assert client.wait(waiting)["status"] == "ready", "the new worker has started"
    document = client.wait(held, RECOVERY_SECONDS)
    assert (document["status"], document["attempts"]) == ("ready", 2)


def test_row_35_clock_steps_forward(client: Client, stepping: Cluster) -> None:
    holder = stepping.start_worker(FAULT_HOOK=f"{Stage.EMBEDDING}:hang")
    document_id = client.accept(unique("long", 50))
    wait_until(lambda: client.show(document_id)["status"] == "processing", 30, "the claim")
    observer = stepping.start_worker()
    wait_until(lambda: observer.has_logged("model.loaded"), 30, "another worker")
    step_clock(stepping, HOUR)
    time.sleep(1.5 * LEASE_SECONDS)  # the observer must not take the job in this time
    assert client.show(document_id)["attempts"] == 1
    holder.terminate()
    document = client.wait(document_id)
    assert (document["status"], document["attempts"]) == ("ready", 1)
    assert not observer.has_logged("queue.swept")
