"""How the time of a search in PostgreSQL grows with the number of chunks, of the owner and of other owners."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from pipeline.types import SearchMode, new_id
from tests.benchmarks.filling import DIMENSION, MODEL, Owner, fill
from tests.benchmarks.report import Report
from tests.benchmarks.times import Times

QUERIES = 60
WARM_UP_QUERIES = 5
"""Queries before the measured ones. They prepare the statement and fill the caches."""
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


def measure_growth(report: Report, database_url: str, sizes: Sequence[int]) -> None:
    """Add one owner for each size, in this order, and search the chunks of each.

    Each owner is searched when it has just been added, and again when all owners are there.
    """
    asyncio.run(_measure_growth(report, database_url, sizes))


async def _measure_growth(report: Report, url: str, sizes: Sequence[int]) -> None:
    database = Database(url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=3600)
    owners: list[Owner] = []
    try:
        for size in sizes:
            owner = Owner(new_id(), size)
            await fill(url, {owner: Vectors(seed=size)})
            owners.append(owner)
            await _time_searches(report, database, owner, f"growth_{size}_chunks")
        for owner in owners[:-1]:
            await _time_searches(report, database, owner, f"growth_{owner.chunks}_chunks_beside_others")
    finally:
        await database.close()


async def _time_searches(report: Report, database: Database, owner: Owner, name: str) -> None:
    times = Times()
    for number, vector in enumerate(Vectors(seed=1).draw(QUERIES + WARM_UP_QUERIES)):
        query = PassageQuery(owner.id, SearchMode.HYBRID, QUESTION.format(number), vector, MODEL, TOP_K)
        started = time.perf_counter()
        async with database.statement() as connection:
            passages = await find_passages(connection, query)
        times.each.append(time.perf_counter() - started)
        assert len(passages) == TOP_K
    del times.each[:WARM_UP_QUERIES]
    report.note(f"{name}_p50_ms", 1000 * times.p50)
    report.note(f"{name}_p95_ms", 1000 * times.p95)
