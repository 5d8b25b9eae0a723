"""Row 32: all faults, in a random order from a seed. Prints a report. If anything was lost, it exits with 1 and keeps the logs.

python -m tests.faults.chaos [--seconds N] [--seed N]
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.logs import configure_logging
from tests.databases import run_sql
from tests.faults.cluster import FAKETIME, LEASE_SECONDS, Cluster
from tests.faults.history import Client, History, find_losses
from tests.processes import LoggedProcess
from tests.waiting import wait_until

CLIENTS = 3
WORKERS = 2
PAUSE_SECONDS = 0.25
"""Pause between two actions of a user."""
HOUR_SECONDS = 3600
STUCK_SECONDS = 30
"""Once all is repaired, a job must end at least this often."""
READS = ("list", "search", "me")


@dataclass
class Report:
    """The results of a run."""

    seed: int
    faults: Counter[str]
    statuses: dict[str, Counter[int]]
    availability: float
    """Share of the reads that were answered, without those during outages of the database and of the API."""
    recoveries: list[float]
    """For each SIGKILL of a worker: seconds until its jobs were claimed again or done. Counted while a worker runs."""
    documents: Counter[str]
    losses: list[str]

    def __str__(self) -> str:
        worst = f"{max(self.recoveries):.1f} s" if self.recoveries else "none"
        return "\n".join(
            [
                f"seed {self.seed}: {dict(self.faults)}",
                *(f"  {operation}: {dict(counts)}" for operation, counts in sorted(self.statuses.items())),
                f"  documents: {dict(self.documents)}",
                f"  reads answered outside outages: {100 * self.availability:.2f} %",
                f"  recoveries after SIGKILL: {len(self.recoveries)}, worst {worst}",
                f"  losses: {self.losses or 'none'}",
            ]
        )


class User:
    """Repeats random actions of a user."""

    def __init__(self, url: str, history: History, dice: random.Random) -> None:
        self.client = Client(url, history)
        self.deleted: set[str] = set()
        self._dice = dice
        self._documents: list[str] = []
        uploads = [self.upload, self.upload, self.upload_broken, self.upload_again, self.write_note]
        self._actions = [*uploads, self.replace, self.search, self.list_documents, self.see_account, self.delete]

    def use(self, done: threading.Event) -> None:
        """Act until `done` is set."""
        while not done.is_set():
            self._dice.choice(self._actions)()
            time.sleep(PAUSE_SECONDS)
        self.client.http.close()

    def upload(self) -> None:
        lines = self._dice.choice([1, 5, 50, 400])
        text = "\n".join(f"Sentence {self._dice.random()} about nothing." for _ in range(lines))
        response = self.client.upload(text.encode())
        if response is not None and response.status_code == 202:
            self._documents.append(response.json()["id"])

    def replace(self) -> None:
        if self._documents:
            document_id = self._dice.choice(self._documents)
            content = self._dice.choice([f"Version {self._dice.random()}.".encode() * 50, b"%PDF-1.7 broken"])
            name = "broken.pdf" if content.startswith(b"%PDF") else "a.txt"
            path = f"/v1/documents/{document_id}/content"
            self.client.call("replace", "PUT", path, files={"file": (name, content)})

    def upload_broken(self) -> None:
        self.client.upload(b"%PDF-1.7 " + self._dice.randbytes(200), "broken.pdf")

    def upload_again(self) -> None:
        self.client.upload(b"the same file of " + self.client.id.encode())

    def search(self) -> None:
        self.client.search()

    def list_documents(self) -> None:
        self.client.call("list", "GET", "/v1/documents")

    def see_account(self) -> None:
        self.client.call("me", "GET", "/v1/users/me")

    def write_note(self) -> None:
        self.client.call("note", "POST", "/v1/notes", json={"title": "x", "body": f"note {self._dice.random()}"})

    def delete(self) -> None:
        if not self._documents:
            return
        document_id = self._documents.pop(self._dice.randrange(len(self._documents)))
        response = self.client.call("delete", "DELETE", f"/v1/documents/{document_id}")
        # After a broken connection or 503 the document may be deleted or not.
        if response is None or response.status_code in (204, 503):
            self.deleted.add(document_id)


@dataclass
class Chaos:
    """A running service and its faults."""

    cluster: Cluster
    dice: random.Random
    history: History = field(default_factory=History)
    outages: list[tuple[float, float]] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    workers: list[LoggedProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._api = self.cluster.start_api()
        self.url = self._api.url
        self.workers = [self.cluster.start_worker() for _ in range(WORKERS)]

    def break_something(self) -> None:
        """Cause a random fault."""
        faults: list[Callable[[], None]] = [
            self.kill_worker,
            self.kill_worker,
            self.pause_worker,
            self.stop_worker,
            self.kill_database,
            self.silence_database,
            self.reset_database,
            self.kill_redis,
            self.silence_redis,
            self.empty_redis,
            self.kill_api,
            *([self.step_clock] if FAKETIME.exists() else []),
        ]
        fault = self.dice.choice(faults)
        self.faults[fault.__name__] += 1
        fault()

    def kill_worker(self) -> None:
        number = self.dice.randrange(WORKERS)
        before = {row["lease_token"] for row in self._find_leases()}
        self.workers[number].kill()
        self.workers[number] = self.cluster.start_worker()
        self.recoveries.append(self._measure_recovery(before))

    def _find_leases(self) -> list[dict[str, object]]:
        rows = run_sql(self.cluster.database_url, "SELECT lease_token FROM jobs WHERE lease_token IS NOT NULL")
        return [dict(row) for row in rows]

    def _measure_recovery(self, tokens: set[object]) -> float:
        """Wait until none of these leases is held: each job is done or claimed by another worker. Return the seconds."""
        # Both workers may have died. The time in which the other one loads its model does not count.
        wait_until(lambda: any(map(has_begun, self.workers)), 60, "a worker")
        return wait_until(
            lambda: not tokens & {row["lease_token"] for row in self._find_leases()}, 60, "recovery after SIGKILL"
        )

    def pause_worker(self) -> None:
        worker = self.dice.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(1.5 * LEASE_SECONDS)
        worker.send_signal(signal.SIGCONT)

    def stop_worker(self) -> None:
        number = self.dice.randrange(WORKERS)
        seconds, code = self.workers[number].stop()
        # A worker that has just started dies of the signal. Without a model it has claimed nothing.
        expected = {0} if has_begun(self.workers[number]) else {0, -signal.SIGTERM}
        assert code in expected, f"SIGTERM: exit code {code} after {seconds:.1f} s, see {self.workers[number].log}"
        self.workers[number] = self.cluster.start_worker()

    def kill_database(self) -> None:
        with self._outage():
            self.cluster.postgres.kill()
            time.sleep(1)
            self.cluster.postgres.start()

    def silence_database(self) -> None:
        with self._outage():
            self.cluster.to_postgres.blackhole()
            time.sleep(3)
            self.cluster.to_postgres.heal()

    def reset_database(self) -> None:
        with self._outage():
            self.cluster.to_postgres.reset()

    def step_clock(self) -> None:
        self.cluster.postgres.step_clock(self.dice.choice([-HOUR_SECONDS, 0, HOUR_SECONDS]))

    def kill_redis(self) -> None:
        self.cluster.valkey.kill()
        time.sleep(1)
        self.cluster.valkey.start()

    def silence_redis(self) -> None:
        self.cluster.to_valkey.blackhole()
        time.sleep(2)
        self.cluster.to_valkey.heal()

    def empty_redis(self) -> None:
        self.cluster.valkey.empty()

    def kill_api(self) -> None:
        with self._outage():
            self._api.kill()
            self._api = self.cluster.start_api(port=urlsplit(self.url).port or 0)

    @contextmanager
    def _outage(self) -> Iterator[None]:
        """Reads may fail from the beginning of the block until the service is ready again."""
        began = time.time()
        yield
        wait_until(lambda: self.cluster.is_ready(self.url), 30, "readiness")
        self.outages.append((began, time.time()))

    def measure_availability(self) -> float:
        reads = [
            answer
            for answer in self.history.answers
            if answer.operation in READS
            and not any(began < answer.at + answer.seconds and answer.at < ended for began, ended in self.outages)
        ]
        return sum(answer.status == 200 for answer in reads) / len(reads) if reads else 0.0


def has_begun(worker: LoggedProcess) -> bool:
    """Return whether it has loaded its model. Before that it claims nothing."""
    return worker.has_logged("model.loaded")


def drain(cluster: Cluster) -> None:
    """Wait until the queue is empty."""

    def count_jobs() -> int:
        return len(run_sql(cluster.database_url, "SELECT 1 FROM jobs"))

    while left := count_jobs():
        wait_until(lambda: count_jobs() < left, STUCK_SECONDS, f"the queue moves, {left} jobs left")


def run(cluster: Cluster, *, seconds: float, seed: int) -> Report:
    """Cause faults for some seconds, repair everything, wait until the queue is empty, and compare."""
    dice = random.Random(seed)
    if FAKETIME.exists():
        cluster.postgres.restart_with_clock()
    chaos = Chaos(cluster, dice)
    users = [User(chaos.url, chaos.history, random.Random(seed + number)) for number in range(1, CLIENTS + 1)]
    done = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        acting = [threads.submit(user.use, done) for user in users]
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(dice.uniform(0.2, 2))
                chaos.break_something()
        finally:
            done.set()
        for future in acting:
            future.result()
    cluster.heal()
    drain(cluster)
    cluster.postgres.restart_without_clock()
    statuses = run_sql(cluster.database_url, "SELECT status, count(*) FROM documents GROUP BY 1")
    return Report(
        seed=seed,
        faults=chaos.faults,
        statuses=chaos.history.count(),
        availability=chaos.measure_availability(),
        recoveries=chaos.recoveries,
        documents=Counter({row[0]: row[1] for row in statuses}),
        losses=find_losses(
            chaos.history, cluster.database_url, frozenset[str]().union(*(user.deleted for user in users))
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    configure_logging("ERROR")
    folder = Path(tempfile.mkdtemp(prefix="sluice-chaos-"))
    cluster = Cluster(folder)
    try:
        report = run(cluster, seconds=arguments.seconds, seed=arguments.seed)
    finally:
        cluster.close()
    print(report)
    if report.losses:
        sys.exit(f"the logs are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
