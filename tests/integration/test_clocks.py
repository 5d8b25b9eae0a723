"""Steps of the database's clock: nothing waits for the time that was, and no lease is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import queue
from pipeline.db.session import Database
from pipeline.errors import DatabaseUnavailable
from pipeline.ingest.sweeper import Sweeper
from pipeline.runtime import Runtime
from pipeline.types import Caller
from tests.databases import fetch, fetch_value
from tests.integration.conftest import LEASE_SECONDS, Clock, claim, observe
from tests.integration.test_queue import add_document, add_owner

pytestmark = pytest.mark.anyio

STEP_BACK = (
    "UPDATE jobs SET available_at = available_at + interval '1 hour', lease_until = lease_until + interval '1 hour'"
)
STEP_FORWARD = STEP_BACK.replace("+", "-")


class SilentDatabase(Database):
    """A database that can stop answering."""

    is_silent = False

    @asynccontextmanager
    async def transaction(self, caller: Caller | None = None) -> AsyncIterator[AsyncSession]:
        if self.is_silent:
            raise DatabaseUnavailable("The database does not respond.")
        async with super().transaction(caller) as session:
            yield session


async def test_waiting_jobs_are_due_after_the_clock_has_stepped_back(runtime: Runtime, database_url: str) -> None:
    await add_document(runtime, await add_owner(database_url))
    await fetch(database_url, STEP_BACK)
    assert await claim(runtime)


async def test_pause_before_a_retry_is_kept(runtime: Runtime, database_url: str) -> None:
    await add_document(runtime, await add_owner(database_url))
    lease = await claim(runtime)
    assert lease
    async with runtime.database.transaction() as session:
        await queue.give_back(session, lease, queue.LONGEST_PAUSE)
    assert await claim(runtime) is None


@pytest.mark.parametrize("step", [STEP_BACK, STEP_FORWARD, "SELECT 1"], ids=["back", "forward", "none"])
async def test_dead_worker_loses_its_lease_after_its_length(runtime: Runtime, database_url: str, step: str) -> None:
    clock = Clock()
    sweeper = Sweeper(runtime.database, LEASE_SECONDS, clock)
    await add_document(runtime, await add_owner(database_url))
    await claim(runtime)
    await fetch(database_url, step)
    for _ in range(4):
        assert await sweeper.sweep() == 0
        clock.now += LEASE_SECONDS / 4
    assert await sweeper.sweep() == 1


@pytest.mark.parametrize("step", [STEP_BACK, STEP_FORWARD], ids=["back", "forward"])
async def test_living_worker_keeps_its_lease(runtime: Runtime, database_url: str, step: str) -> None:
    clock = Clock()
    sweeper = Sweeper(runtime.database, LEASE_SECONDS, clock)
    await add_document(runtime, await add_owner(database_url))
    lease = await claim(runtime)
    assert lease
    for _ in range(12):
        assert await sweeper.sweep() == 0
        await fetch(database_url, step)
        async with runtime.database.transaction() as session:
            assert await queue.extend(session, [lease.token], LEASE_SECONDS)
        clock.now += LEASE_SECONDS / 4
    assert await fetch_value(database_url, "SELECT crashes FROM jobs") == 0


async def test_time_in_which_the_sweeper_was_paused_does_not_count(runtime: Runtime, database_url: str) -> None:
    """While it was paused, PostgreSQL may have been down, and workers could not send heartbeats."""
    clock = Clock()
    sweeper = Sweeper(runtime.database, LEASE_SECONDS, clock)
    await add_document(runtime, await add_owner(database_url))
    await claim(runtime)
    assert await sweeper.sweep() == 0
    clock.now += 2 * LEASE_SECONDS
    assert await sweeper.sweep() == 0
    assert await observe(sweeper, clock) == 1


async def test_outage_of_the_database_does_not_count(runtime: Runtime, database_url: str) -> None:
    clock = Clock()
    database = SilentDatabase(runtime.settings.sqlalchemy_url, pool_size=1, timeout_seconds=10)
    sweeper = Sweeper(database, LEASE_SECONDS, clock)
    await add_document(runtime, await add_owner(database_url))
    await claim(runtime)
    assert await sweeper.sweep() == 0
    database.is_silent = True
    for _ in range(20):
        clock.now += LEASE_SECONDS / 4
        with pytest.raises(DatabaseUnavailable):
            await sweeper.sweep()
    database.is_silent = False
    assert await sweeper.sweep() == 0
    assert await observe(sweeper, clock) == 1
    await database.close()
