"""The claim loop: what happens if one of its parts meets a programming error."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pipeline.ingest.heartbeat import Heartbeat
from pipeline.notify.change_feed import ChangeFeed
from pipeline.runtime import Runtime
from tests.integration.conftest import wait_for
from tests.integration.test_queue import add_document, add_owner, show
from workers.consumer import Consumer, PartFailed

pytestmark = pytest.mark.anyio


@pytest.fixture
async def heartbeat(runtime: Runtime) -> AsyncIterator[Heartbeat]:
    heartbeat = Heartbeat(runtime.settings.sqlalchemy_url, lease_seconds=60, stall_seconds=60)
    heartbeat.start()
    yield heartbeat
    heartbeat.stop()


async def test_consumer_ends_if_the_heartbeat_has_ended(runtime: Runtime, heartbeat: Heartbeat) -> None:
    heartbeat.stop()
    async with asyncio.timeout(20):
        with pytest.raises(ExceptionGroup) as raised:
            await Consumer(runtime, heartbeat).run()
    assert raised.group_contains(PartFailed, match="heartbeat")


async def test_consumer_that_loses_a_part_gives_its_jobs_back(
    runtime: Runtime, heartbeat: Heartbeat, database_url: str
) -> None:
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner, "Sentence. " * 100_000)
    stop = asyncio.Event()

    async def fail() -> None:
        await stop.wait()
        raise ZeroDivisionError("nobody foresaw this")

    running = asyncio.create_task(Consumer(runtime, heartbeat).run(fail()))

    async def is_processing() -> bool:
        return (await show(runtime, owner, document)).status == "processing"

    await wait_for(is_processing)
    stop.set()
    with pytest.raises(ExceptionGroup) as raised:
        await running
    assert raised.group_contains(ZeroDivisionError)
    assert (await show(runtime, owner, document)).status in {"pending", "ready"}


async def test_change_feed_goes_on_after_a_programming_error(caplog: pytest.LogCaptureFixture) -> None:
    feed = ChangeFeed("postgresql+asyncpg://host:not-a-port/name", timeout_seconds=1)
    feed.start()
    await wait_for(lambda: sum("change_feed.failed" in record.getMessage() for record in caplog.records) > 1)
    await feed.close()
