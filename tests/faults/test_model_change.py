"""The embedding model changes while the command and the worker are killed."""

import os
import threading
import time
from pathlib import Path

from pipeline.embedding.model import PACKAGED_MODEL
from tests.databases import run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client
from tests.second_model import make_model
from tests.waiting import wait_until

SECTIONS = int(os.environ.get("TEST_SECTIONS", "150"))
"""Sections of the document. Each becomes a passage. A run by hand may use 5000."""
STOP_SECONDS = 40
"""Longer than one request may take."""
QUESTION = {"query": "When is lock 7 open?", "mode": "vector", "top_k": 5}

Answer = tuple[tuple[str, float], ...]


class Asker(threading.Thread):
    """Repeats one question and keeps the answers."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._done = threading.Event()
        self.answers: list[Answer] = []
        self.problems: list[str] = []

    def run(self) -> None:
        while not self._done.is_set():
            response = self._client.http.post("/v1/search", json=QUESTION)
            passages = response.json().get("passages")
            if not passages:
                self.problems.append(response.text)
                return
            self.answers.append(tuple((passage["text"], round(passage["score"], 3)) for passage in passages))

    def stop(self) -> None:
        self._done.set()
        self.join(STOP_SECONDS)
        assert not self.is_alive()


def test_command_and_worker_are_killed_and_it_goes_on(cluster: Cluster, client: Client, tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    text = "".join(f"# Lock {number}\n\nIt opens at {number} past seven.\n\n" for number in range(SECTIONS))
    worker = cluster.start_worker()
    document = client.wait(client.accept(text.encode(), "locks.md"), 30 + SECTIONS / 10)
    worker.kill()
    asker = Asker(client)
    asker.start()

    command = cluster.start_change(model)
    count = "SELECT count(*) FROM vectors WHERE model = $1"
    wait_until(lambda: run_sql(cluster.database_url, "SELECT FROM jobs"), 30, f"the queue, see {command.log}")
    worker = cluster.start_worker(FAULT_HOOK="finishing:crash")
    wait_until(lambda: not worker.is_running, 30, "the worker dies inside its transaction")
    command.kill()
    assert run_sql(cluster.database_url, count, arguments=(model,))[0][0] == 0

    cluster.start_worker()
    began = time.monotonic()
    command = cluster.start_change(model)
    wait_until(lambda: not command.is_running, 30 + SECTIONS / 10, f"the command, see {command.log}")
    assert command.has_logged(f"{model} is the active model now")
    seen = len(asker.answers)
    wait_until(lambda: asker.problems or len(asker.answers) > seen + 2, 10, "answers")
    asker.stop()
    assert asker.problems == []
    old, new = asker.answers[0], asker.answers[-1]
    step = asker.answers.index(new)
    print(
        f"{len(asker.answers)} answers, {step} of the old model; {SECTIONS} chunks in {time.monotonic() - began:.1f} s"
    )
    assert old != new
    assert asker.answers == [old] * step + [new] * (len(asker.answers) - step)
    assert run_sql(cluster.database_url, "SELECT DISTINCT model FROM vectors")[0][0] == model
    assert client.show(document["id"]) == document
    assert cluster.is_ready(client.url), "the active model counts, not EMBEDDING_MODEL"

    # Other tests use this cluster with the packaged model.
    client.http.delete(f"/v1/documents/{document['id']}")
    run_sql(cluster.database_url, f"UPDATE embedding_models SET name = '{PACKAGED_MODEL}'")
    wait_until(lambda: cluster.shared_api.has_logged(f'"after": "{PACKAGED_MODEL}"'), 10, "the API follows")
    wait_until(lambda: cluster.is_ready(client.url), 10, "the API is ready")
