"""How the time of a search in PostgreSQL grows with the number of chunks, of the owner and of other owners."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from sqlalchemy import text

from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from pipeline.operations.local.servers import SHARED_BUFFERS_MB
from pipeline.types import SearchMode, new_id
from tests.benchmarks.filling import DIMENSION, MODEL, Owner, fill
from tests.benchmarks.plans import write_plans
from tests.benchmarks.report import Report
from tests.benchmarks.stack import Servers
from tests.benchmarks.times import Times
from tests.databases import migrate

QUERIES = 60
WARM_UP_QUERIES = 300
"""Queries before the measured ones, with other vectors. They prepare the statement and fill the caches."""
CHUNKS_PER_MIB = 400
"""Passages whose vectors and index take one MiB."""
TOP_K = 10
TEXT = "This sentence is repeated until the text has the usual length of a passage, for a row of usual size. " * 15
QUESTION = "How long is the row of passage {}?"
CLUSTERS = 2_000
SPREAD = 0.9
"""Distance of vectors from the centre of their cluster. Nearest neighbours have a cosine of about 0.6, as in real text."""


class Vectors:
    """Unit vectors in clusters, with texts that differ only in a number. A seed always gives the same vectors."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._centres = _normalize(np.random.default_rng(0).standard_normal((CLUSTERS, DIMENSION)))

    def draw(self, count: int) -> np.ndarray:
        around = _normalize(self._random.standard_normal((count, DIMENSION)))
        return _normalize(self._centres[self._random.integers(0, CLUSTERS, count)] + SPREAD * around)

    def read(self, first: int, count: int) -> tuple[list[str], np.ndarray]:
        return [f"{ordinal} {TEXT}" for ordinal in range(first, first + count)], self.draw(count)


def _normalize(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def choose_shared_buffers(sizes: Sequence[int]) -> int:
    """Return the size of PostgreSQL's cache in MiB that RUNBOOK.md recommends for all owners together."""
    return max(SHARED_BUFFERS_MB, sum(sizes) // CHUNKS_PER_MIB)


def measure_growth(report: Report, servers: Servers, sizes: Sequence[int], plans: Path) -> None:
    """Add one owner for each size, in this order, and search the chunks of each.

    Each owner is searched when it has just been added, and again when all owners are there. The plans of a search are
    written to the folder `plans`.
    """
    url = servers.make_database("growth")
    migrate(url, "head")
    asyncio.run(_measure_growth(report, url, sizes, servers.postgres_log, plans))


async def _measure_growth(report: Report, url: str, sizes: Sequence[int], log: Path, plans: Path) -> None:
    database = Database(url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=3600)
    owners: list[Owner] = []
    try:
        for size in sizes:
            owner = Owner(new_id(), size)
            await fill(url, {owner: Vectors(seed=size)})
            owners.append(owner)
            await _time_searches(report, database, owner, f"growth_{size}_chunks")
            [vector] = Vectors(seed=1).draw(1)
            await write_plans(url, _make_query(owner, 0, vector), log, plans / f"plans-{size}.txt")
        for owner in owners[:-1]:
            await _time_searches(report, database, owner, f"growth_{owner.chunks}_chunks_beside_others")
    finally:
        await database.close()


def _make_query(owner: Owner, number: int, vector: np.ndarray) -> PassageQuery:
    return PassageQuery(owner.id, SearchMode.HYBRID, QUESTION.format(number), vector, MODEL, TOP_K)


async def _time_searches(report: Report, database: Database, owner: Owner, name: str) -> None:
    vectors = Vectors(seed=1).draw(WARM_UP_QUERIES + QUERIES)
    made = [_make_query(owner, number, vector) for number, vector in enumerate(vectors)]
    for query in made[:WARM_UP_QUERIES]:
        await _search(database, query)
    queries = made[WARM_UP_QUERIES:]
    times = Times()
    before = await _read_backend_cpu(database)
    for query in queries:
        started = time.perf_counter()
        await _search(database, query)
        times.each.append(time.perf_counter() - started)
    cpu_seconds = await _read_backend_cpu(database) - before
    report.note(f"{name}_p50_ms", 1000 * times.p50)
    report.note(f"{name}_p95_ms", 1000 * times.p95)
    report.note(f"{name}_cpu_ms", 1000 * cpu_seconds / QUERIES)


async def _search(database: Database, query: PassageQuery) -> None:
    async with database.statement() as connection:
        assert len(await find_passages(connection, query)) == TOP_K


async def _read_backend_cpu(database: Database) -> float:
    """Return the processor seconds of PostgreSQL's process for the only connection of the pool."""
    async with database.transaction() as session:
        times = psutil.Process(await session.scalar(text("SELECT pg_backend_pid()"))).cpu_times()
    return times.user + times.system
