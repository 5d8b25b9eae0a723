"""The claim loop: what happens if one of its parts meets a programming error."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from functools import partial
from typing import BinaryIO
from uuid import UUID

import numpy as np
import pytest

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.db import contents
from pipeline.db.crashes import SUSPECT_CRASHES
from pipeline.embedding.helpers import Helpers
from pipeline.embedding.sharing import encode_together
from pipeline.ingest.heartbeat import Heartbeat
from pipeline.notify.change_feed import ChangeFeed
from pipeline.notify.doorbell import RING_TASK, Doorbell, connect
from pipeline.runtime import Runtime
from pipeline.sandbox.pool import Sandbox
from pipeline.sandbox.protocol import Limits, Page
from pipeline.settings import Settings
from pipeline.types import Caller
from tests.conftest import Logged
from tests.databases import fetch, rewrite_statements
from tests.integration.conftest import wait_for, work
from tests.integration.test_queue import add_document, add_owner, show
from tests.integration.test_sandbox import make_server
from tests.unit.test_sharing import TEXTS, DigestEncoder, make_vectors
from workers.bell import listen
from workers.consumer import Consumer, PartFailed

pytestmark = pytest.mark.anyio

HOSTILE = """
    text = os.read(0, 100).decode()
    while text.startswith("hostile"): signal.pause()
    say(Page([text], 1), Done())
    """
"""A child that never ends for hostile files."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Leases that do not expire on a busy machine. A job that loses its lease starts again."""
    return settings.model_copy(update={"lease_seconds": 60.0})


@pytest.fixture
async def heartbeat(runtime: Runtime) -> AsyncIterator[Heartbeat]:
    lease_seconds = runtime.settings.lease_seconds
    heartbeat = Heartbeat(runtime.settings.sqlalchemy_url, lease_seconds=lease_seconds, stall_seconds=60)
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
    document = await add_document(runtime, owner, "Sentence. " * 20_000)
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
    slow = replace(runtime, sandbox=Sandbox(make_server(HOSTILE)))
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


async def has_status(runtime: Runtime, owner: UUID, document: UUID, status: str) -> bool:
    return (await show(runtime, owner, document)).status == status


async def test_file_that_waits_for_a_slot_is_claimed_when_one_is_free(
    runtime: Runtime, heartbeat: Heartbeat, database_url: str
) -> None:
    """The last slot takes only short files, and the next poll is far away."""
    child = """
        text = os.read(0, 100).decode()
        if text.startswith("slow"):
            sum(range(50_000_000))
        say(Page([text], 1), Done())
        """
    settings = runtime.settings.model_copy(update={"worker_concurrency": 2, "poll_seconds": 60.0})
    slow = replace(runtime, sandbox=Sandbox(make_server(child)), settings=settings)
    owner = await add_owner(database_url)
    short = await add_document(runtime, owner, "slow")
    consumer = Consumer(slow, heartbeat)
    running = asyncio.create_task(consumer.run())

    await wait_for(lambda: has_status(runtime, owner, short, "processing"))
    long = await add_document(runtime, owner, "long" * 100_000)
    consumer.wake()
    await wait_for(lambda: has_status(runtime, owner, short, "ready"))
    await wait_for(lambda: has_status(runtime, owner, long, "ready"))
    consumer.stop()
    await slow.sandbox.close()
    await running


class GatedSandbox(Sandbox):
    """A sandbox that reads no file until its gate opens. It then reads one page: its name."""

    def __init__(self, name: str, gate: asyncio.Event) -> None:
        super().__init__(make_server(f"say(Page(['{name}'], 1), Done())"))
        self._gate = gate

    async def extract(
        self, file: BinaryIO, media_type: str, limits: Limits, *, charset: str | None = None
    ) -> AsyncGenerator[Page]:
        await self._gate.wait()
        async for page in super().extract(file, media_type, limits, charset=charset):
            yield page


async def test_idle_worker_gets_the_second_of_two_files(
    runtime: Runtime, heartbeat: Heartbeat, database_url: str
) -> None:
    settings = runtime.settings.model_copy(update={"poll_seconds": 60.0})
    gate = asyncio.Event()
    sandboxes = [GatedSandbox(name, gate) for name in "ab"]
    runtimes = [replace(runtime, sandbox=sandbox, settings=settings) for sandbox in sandboxes]
    consumers = [Consumer(each, heartbeat, yield_seconds=60.0) for each in runtimes]
    running = [asyncio.create_task(consumer.run()) for consumer in consumers]
    await wait_for(lambda: all(consumer.has_free_slot for consumer in consumers))
    owner = await add_owner(database_url)
    documents = [await add_document(runtime, owner, letter * 400_000) for letter in "xy"]

    async def read(document: UUID) -> str:
        async with runtime.database.transaction(Caller(owner)) as session:
            return (await contents.read_text(session, owner, document, 0, None)).text

    for consumer, document in zip(consumers, documents, strict=True):
        consumer.wake()
        await wait_for(partial(has_status, runtime, owner, document, "processing"))
    gate.set()
    for document in documents:
        await wait_for(partial(has_status, runtime, owner, document, "ready"))
    assert [await read(document) for document in documents] == ["a", "b"]
    for consumer, sandbox, task in zip(consumers, sandboxes, running, strict=True):
        consumer.stop()
        await sandbox.close()
        await task


async def test_only_worker_takes_a_second_file_soon(runtime: Runtime, heartbeat: Heartbeat, database_url: str) -> None:
    settings = runtime.settings.model_copy(update={"poll_seconds": 60.0})
    slow = replace(runtime, sandbox=Sandbox(make_server(HOSTILE)), settings=settings)
    owner = await add_owner(database_url)
    first, second = [await add_document(runtime, owner, text * 100_000) for text in ("hostile", "honest")]
    consumer = Consumer(slow, heartbeat)
    running = asyncio.create_task(consumer.run())

    await wait_for(lambda: has_status(runtime, owner, second, "ready"))
    assert await has_status(runtime, owner, first, "processing")
    consumer.stop()
    await slow.sandbox.close()
    await running


async def test_idle_worker_claims_once_for_a_document(
    runtime: Runtime, heartbeat: Heartbeat, database_url: str
) -> None:
    settings = runtime.settings.model_copy(update={"poll_seconds": 60.0})
    consumer = Consumer(replace(runtime, settings=settings), heartbeat)
    owner = await add_owner(database_url)
    claims = 0

    def count(statement: str) -> str:
        nonlocal claims
        claims += "SKIP LOCKED" in statement and "UPDATE jobs" in statement
        return statement

    with rewrite_statements(count):
        running = asyncio.create_task(consumer.run())
        await wait_for(lambda: claims == 1)
        document = await add_document(runtime, owner)
        consumer.wake()

        async def is_ready() -> bool:
            return (await show(runtime, owner, document)).status == "ready"

        await wait_for(is_ready)
        await asyncio.sleep(0.1)  # another claim would come at the end of the job
        consumer.stop()
        await running
    assert claims == 2


async def test_change_feed_goes_on_after_a_programming_error(logged: Logged) -> None:
    feed = ChangeFeed("postgresql+asyncpg://host:not-a-port/name", timeout_seconds=1)
    feed.start()
    await wait_for(lambda: [event["event"] for event in logged].count("change_feed.failed") > 1)
    await feed.close()


class Slots:
    """A worker that has a free slot when it is asked first, or always."""

    is_idle = True

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self.asked = 0
        self.was_woken = asyncio.Event()

    @property
    def has_free_slot(self) -> bool:
        self.asked += 1
        return self._always or self.asked == 1

    def wake(self) -> None:
        self.was_woken.set()


async def test_ring_that_a_worker_cannot_answer_is_left_to_another(settings: Settings, runtime: Runtime) -> None:
    dsn = f"{settings.redis_dsn}?db=9"  # workers of other tests may listen in the usual database
    redis = connect(dsn, timeout_seconds=10)
    full, free = Slots(always=False), Slots(always=True)
    first = asyncio.create_task(listen(dsn, full, runtime.helpers))
    await wait_for(lambda: full.asked)
    await redis.enqueue_job(RING_TASK)
    await wait_for(lambda: full.asked > 2)
    second = asyncio.create_task(listen(dsn, free, runtime.helpers))
    async with asyncio.timeout(30):
        await free.was_woken.wait()
    assert not full.was_woken.is_set()
    await wait_for(lambda: runtime.helpers.is_started)  # with the key from the database
    for listening in (first, second):
        listening.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await redis.aclose(close_connection_pool=True)


async def find_key() -> bytes:
    return bytes(32)


async def test_idle_worker_embeds_a_part_of_a_long_document(runtime: Runtime, settings: Settings) -> None:
    breaker = CircuitBreaker("helper", metrics.HELPER_FAILURES)
    own, other = DigestEncoder(), DigestEncoder()
    helped = Helpers(runtime.doorbell.send, lambda: own, breaker, find_key, group="test")
    helping = Helpers(runtime.doorbell.send, lambda: other, breaker, find_key, group="test")
    dsn = f"{settings.redis_dsn}?db=8"
    listening = [asyncio.create_task(listen(dsn, Slots(always=True), each)) for each in (helped, helping)]

    async def is_helped() -> bool:
        own.may_embed.clear()
        sharing = asyncio.create_task(encode_together(own, helped, TEXTS))
        for _ in range(100):  # not for ever, because Redis may be slow on a busy machine
            if other.embedded:
                break
            await asyncio.sleep(0.01)
        own.may_embed.set()
        assert np.array_equal(await sharing, make_vectors(TEXTS))
        return bool(other.embedded)

    await wait_for(is_helped)
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)


@pytest.mark.parametrize(("crashes", "is_shared"), [(0, True), (SUSPECT_CRASHES, False)])
async def test_suspect_is_not_shared(runtime: Runtime, database_url: str, crashes: int, *, is_shared: bool) -> None:
    """Its text may crash the process that embeds it."""
    offered: list[str] = []

    async def send(channel: str, _message: bytes) -> int:
        offered.append(channel)
        return 0

    breaker = CircuitBreaker("helper", metrics.HELPER_FAILURES)
    helpers = Helpers(send, lambda: runtime.encoder, breaker, find_key, group="0")
    await helpers.start()
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner, "Sentence. " * 5_000)
    await fetch(database_url, "UPDATE jobs SET crashes = $1 WHERE subject_id = $2", crashes, document)
    await work(replace(runtime, helpers=helpers))
    assert (await show(runtime, owner, document)).status == "ready"
    assert bool(offered) == is_shared


async def test_rings_are_heard_without_a_usable_key(settings: Settings, logged: Logged) -> None:
    async def find_short_key() -> bytes:
        return b"too short"

    dsn, slots, breaker = (
        f"{settings.redis_dsn}?db=6",
        Slots(always=True),
        CircuitBreaker("redis", metrics.REDIS_FAILURES),
    )
    doorbell, ringer = Doorbell(dsn, breaker), connect(dsn, timeout_seconds=10)
    helpers = Helpers(doorbell.send, DigestEncoder, breaker, find_short_key, group="test")
    listening = asyncio.create_task(listen(dsn, slots, helpers))
    await wait_for(lambda: "helpers.key_unusable" in [event["event"] for event in logged])
    await ringer.enqueue_job(RING_TASK)
    async with asyncio.timeout(5):
        await slots.was_woken.wait()
    assert not helpers.is_started
    assert [event["event"] for event in logged].count("helpers.key_unusable") == 1
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await doorbell.close()
    await ringer.aclose(close_connection_pool=True)


async def test_rings_are_heard_by_a_user_of_redis_that_may_use_no_channel(settings: Settings, logged: Logged) -> None:
    admin = connect(settings.redis_dsn, timeout_seconds=10)
    await admin.acl_setuser("ringer", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"])
    dsn = f"{settings.redis_dsn}?db=7&username=ringer&password=secret"
    slots = Slots(always=True)
    doorbell, ringer = Doorbell(dsn, CircuitBreaker("redis", metrics.REDIS_FAILURES)), connect(dsn, timeout_seconds=10)
    helpers = Helpers(
        doorbell.send,
        DigestEncoder,
        CircuitBreaker("helper", metrics.HELPER_FAILURES),
        find_key,
        group="test",
    )
    listening = asyncio.create_task(listen(dsn, slots, helpers))
    await wait_for(lambda: "helpers.not_permitted" in [event["event"] for event in logged])
    await ringer.enqueue_job(RING_TASK)
    async with asyncio.timeout(5):
        await slots.was_woken.wait()
    assert not helpers.is_started
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await doorbell.close()
    await ringer.aclose(close_connection_pool=True)
    await admin.acl_deluser("ringer")
    await admin.aclose(close_connection_pool=True)
