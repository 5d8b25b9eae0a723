"""Part d: what a search costs when there is more to search, of the owner and of others."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from pipeline.types import SearchMode, new_id
from tests.benchmarks.filling import DIMENSION, MODEL, Owner, fill
from tests.benchmarks.measure import Times
from tests.benchmarks.report import Report

QUERIES = 60
TOP_K = 10
TEXT = "A passage of about the usual length stands here, so that its row is as large as rows are. " * 16
QUESTION = "How long is the row of passage {}?"
CLUSTERS = 2_000
SPREAD = 0.9
"""How far vectors are from the centre of their cluster: nearest neighbours at a cosine of about 0.6, as of real text."""


class Vectors:
    """Unit vectors in clusters, always the same ones, of texts that are alike."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._centres = normalize(np.random.default_rng(0).standard_normal((CLUSTERS, DIMENSION)))

    def draw(self, count: int) -> np.ndarray:
        around = normalize(self._random.standard_normal((count, DIMENSION)))
        return normalize(self._centres[self._random.integers(0, CLUSTERS, count)] + SPREAD * around)

    def read(self, first: int, count: int) -> tuple[list[str], np.ndarray]:
        return [f"{ordinal} {TEXT}" for ordinal in range(first, first + count)], self.draw(count)


def normalize(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def measure_growth(report: Report, database_url: str, sizes: Sequence[int]) -> None:
    """Give one owner after the other so many chunks; each is searched alone so far, and again beside all others."""
    asyncio.run(_measure_growth(report, database_url, sizes))


async def _measure_growth(report: Report, url: str, sizes: Sequence[int]) -> None:
    database = Database(url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=3600)
    owners: list[Owner] = []
    try:
        for size in sizes:
            owner = Owner(new_id(), size)
            await fill(url, {owner: Vectors(seed=size)})
            owners.append(owner)
            await _note(report, database, owner, f"growth_{size}_chunks")
        for owner in owners[:-1]:
            await _note(report, database, owner, f"growth_{owner.chunks}_chunks_beside_others")
    finally:
        await database.close()


async def _note(report: Report, database: Database, owner: Owner, name: str) -> None:
    times = Times()
    for number, vector in enumerate(Vectors(seed=1).draw(QUERIES + 5)):
        query = PassageQuery(owner.id, SearchMode.HYBRID, QUESTION.format(number), vector, MODEL, TOP_K)
        started = time.perf_counter()
        async with database.statement() as connection:
            passages = await find_passages(connection, query)
        times.each.append(time.perf_counter() - started)
        assert len(passages) == TOP_K
    del times.each[:5]  # the first ones prepare the statement and warm the caches
    report.note(f"{name}_p50_ms", 1000 * times.p50)
    report.note(f"{name}_p95_ms", 1000 * times.p95)
