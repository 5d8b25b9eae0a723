"""Row 48 of the fault matrix: a snapshot that holds vacuum back while jobs pass.

SNAPSHOT_JOBS=100000 runs the whole row.
"""

import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import queue
from pipeline.db.claim_starts import ClaimStarts
from pipeline.db.session import Database
from tests.databases import fetch
from tests.faults.cluster import Cluster

pytestmark = pytest.mark.anyio

JOBS = int(os.environ.get("SNAPSHOT_JOBS", "5000"))
CLAIMS_IN_A_ROUND = 5
ROUNDS = 20
MAX_BLOCKS = 100
"""Blocks of the table and of the index of waiting jobs that a claim may read. Passed jobs leave thousands."""

INSERT = """
INSERT INTO jobs (owner_id, kind, subject_id, turn)
SELECT gen_random_uuid(), 'note', gen_random_uuid(), number FROM generate_series(1, $1::int) AS number"""
PASS = "DELETE FROM jobs WHERE turn <= $1"
BLOCKS = """
SELECT pg_stat_get_xact_blocks_fetched('jobs'::regclass) + pg_stat_get_xact_blocks_fetched('ix_jobs_waiting'::regclass)
"""


@dataclass
class Claims:
    """What claims cost."""

    seconds: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)

    async def measure(self, session: AsyncSession, starts: ClaimStarts) -> None:
        before = await session.scalar(text(BLOCKS)) or 0
        started = time.perf_counter()
        assert await queue.claim(session, 600, alone=True, starts=starts)
        self.seconds.append(time.perf_counter() - started)
        self.blocks.append((await session.scalar(text(BLOCKS)) or 0) - before)


@asynccontextmanager
async def hold_snapshot(url: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.fetch("SELECT count(*) FROM jobs")
            yield
    finally:
        await connection.close()


async def test_row_48_claims_while_a_snapshot_is_held(cluster: Cluster) -> None:
    url = cluster.direct_url.replace("postgresql", "postgresql+asyncpg", 1)
    database, starts, claims = Database(url, pool_size=2, timeout_seconds=60), ClaimStarts(clock=lambda: 0.0), Claims()
    await fetch(cluster.database_url, INSERT, JOBS + CLAIMS_IN_A_ROUND)
    await fetch(cluster.database_url, "ANALYZE jobs")  # as autovacuum does, which may not have run yet
    try:
        async with hold_snapshot(cluster.database_url):
            for number in range(1, ROUNDS + 1):
                await fetch(cluster.database_url, PASS, JOBS * number // ROUNDS)
                for _ in range(CLAIMS_IN_A_ROUND):
                    async with database.transaction() as session:
                        await claims.measure(session, starts)
    finally:
        await database.close()
        await fetch(cluster.database_url, "DELETE FROM jobs")
    later = [blocks for number, blocks in enumerate(claims.blocks) if number % CLAIMS_IN_A_ROUND]
    print(f"blocks {max(later)}, p99 {statistics.quantiles(claims.seconds, n=100)[-1] * 1000:.1f} ms")
    assert max(later) < MAX_BLOCKS
