"""Row 52 of the fault matrix: workers that die at random, as spot instances do.

STORM_SECONDS=120 runs the whole row: two workers, 35 documents, and a random worker killed every 3 to 7 s.
"""

import os
import random
import time

import pytest

from pipeline.types import Stage
from tests.faults.cluster import Cluster
from tests.faults.history import Client, unique
from tests.waiting import wait_until

SEED = int(os.environ.get("STORM_SEED", "52"))
WHOLE_ROW_SECONDS = float(os.environ.get("STORM_SECONDS", "0"))
KILLED_AT = (Stage.EMBEDDING, Stage.EXTRACTING, Stage.CHUNKING, Stage.EMBEDDING, Stage.EXTRACTING)
DOCUMENTS = 35
LINES = (1, 20, 200, 2_000)
"""Lengths of the documents. The longest takes longer than most workers live."""


def test_row_52_innocent_document_whose_workers_die_at_different_places(cluster: Cluster, client: Client) -> None:
    document_id = client.accept(unique("innocent", 5))
    for stage in KILLED_AT:
        worker = cluster.start_worker(LEASE_SECONDS="1", FAULT_HOOK=f"{stage}:crash")
        wait_until(lambda: not worker.is_running, 30, f"the crash at {stage}")  # noqa: B023 - called in this round
    cluster.start_worker(LEASE_SECONDS="1")
    document = client.wait(document_id)
    assert (document["status"], document["attempts"]) == ("ready", 1 + len(KILLED_AT))


@pytest.mark.timeout(900)
@pytest.mark.skipif(not WHOLE_ROW_SECONDS, reason="takes minutes; set STORM_SECONDS=120")
@pytest.mark.usefixtures("alone")
def test_row_52_storm(cluster: Cluster, client: Client) -> None:
    dice = random.Random(SEED)
    started = time.monotonic()
    poison = client.accept(unique("poison", 20))
    documents = [client.accept(unique(f"storm {number}", dice.choice(LINES))) for number in range(DOCUMENTS)]
    hook = {"FAULT_HOOK": f"embedding:crash:{poison}"}
    workers = [cluster.start_worker(**hook) for _ in range(2)]
    blamed_after = 0.0
    while time.monotonic() < started + WHOLE_ROW_SECONDS:
        time.sleep(dice.uniform(3, 7))
        workers[dice.randrange(2)].kill()
        workers = [worker if worker.is_running else cluster.start_worker(**hook) for worker in workers]
        if not blamed_after and client.show(poison)["status"] == "failed":
            blamed_after = time.monotonic() - started
    cluster.start_worker()
    finished = [client.wait(document, 300) for document in documents]
    attempts = sorted(document["attempts"] for document in finished)
    print(f"poison failed after {blamed_after:.0f} s; attempts of the others: {attempts}")
    assert {document["status"] for document in finished} == {"ready"}
    assert client.show(poison)["error"]["code"] == "worker_lost"
    assert 0 < blamed_after < WHOLE_ROW_SECONDS
