"""The claim loop: what happens if one of its parts meets a programming error."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pipeline.ingest.heartbeat import Heartbeat
from pipeline.notify.change_feed import ChangeFeed
from pipeline.runtime import Runtime
from pipeline.sandbox.pool import Sandbox
from tests.conftest import Logged
from tests.integration.conftest import wait_for
from tests.integration.test_queue import add_document, add_owner, show
from tests.integration.test_sandbox import make_server
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


async def test_account_does_not_wait_for_files_of_another_that_fill_all_slots(
    runtime: Runtime, heartbeat: Heartbeat, database_url: str
) -> None:
    child = """
        text = os.read(0, 100).decode()
        while text.startswith("hostile"): signal.pause()
        say(Page([text], 1), Done())
        """
    slow = replace(runtime, sandbox=Sandbox(make_server(child)))
    attacker, innocent = await add_owner(database_url), await add_owner(database_url)
    slots = runtime.settings.worker_concurrency
    hostile = [await add_document(runtime, attacker, "hostile" + " " * (93 + number)) for number in range(slots + 1)]
    consumer = Consumer(slow, heartbeat)
    running = asyncio.create_task(consumer.run())

    async def count(status: str) -> int:
        return sum([(await show(runtime, attacker, document)).status == status for document in hostile])

    async def fills_all_slots() -> bool:
        return await count("processing") == slots

    await wait_for(fills_all_slots)
    document = await add_document(runtime, innocent)

    async def is_ready() -> bool:
        return (await show(runtime, innocent, document)).status == "ready"

    await wait_for(is_ready)
    assert (await count("processing"), await count("pending")) == (slots, 1)
    consumer.stop()
    await slow.sandbox.close()
    await running


async def test_change_feed_goes_on_after_a_programming_error(logged: Logged) -> None:
    feed = ChangeFeed("postgresql+asyncpg://host:not-a-port/name", timeout_seconds=1)
    feed.start()
    await wait_for(lambda: [event["event"] for event in logged].count("change_feed.failed") > 1)
    await feed.close()
