"""Listens for rings and for messages of other workers beside the claim loop, and goes on after Redis outages.

A worker with a free slot waits in Redis for a ring, so it hears one at once, and an idle worker costs nothing.
"""

import asyncio
from contextlib import suppress
from typing import Protocol, cast

from arq import ArqRedis
from redis.exceptions import NoPermissionError, RedisError

from pipeline.embedding.helpers import Helpers
from pipeline.embedding.sealing import KeyUnusable
from pipeline.logs import get_logger
from pipeline.notify.doorbell import QUEUE_NAME, connect

WAIT_SECONDS = 1.0
"""Longest time that Redis waits for a ring before it answers. It is shorter than REDIS_TIMEOUT_SECONDS."""
REDIS_TIMEOUT_SECONDS = 3.0
MESSAGE_SECONDS = 60.0
"""Longest time that a call waits for a message."""
FULL_SECONDS = 0.05
"""Interval at which a worker without a free slot looks whether it has one."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
CANCEL_SECONDS = 0.1
"""Interval at which a cancellation is repeated."""
STEADY_SECONDS = 30.0
"""After a connection that lasted this long, the next pause is short again."""


class Claimer(Protocol):
    """A `Consumer`, as far as rings concern it."""

    @property
    def has_free_slot(self) -> bool:
        """True if it can claim another job now."""

    @property
    def is_idle(self) -> bool:
        """True if it could claim a job now and runs none."""

    def wake(self) -> None:
        """Make it check the queue now."""


Ring = tuple[bytes, bytes, float]
"""Queue, id and time of a ring."""

log = get_logger()


async def listen(dsn: str, consumer: Claimer, helpers: Helpers) -> None:
    """Receive rings, and messages for `helpers`, until cancelled.

    While Redis is down, retry after 1 s, then after longer pauses of up to 10 s.
    """
    pause = FIRST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        redis = connect(dsn, timeout_seconds=REDIS_TIMEOUT_SECONDS)
        answering = [
            asyncio.create_task(_answer_rings(redis, consumer)),
            asyncio.create_task(_receive_messages(redis, consumer, helpers)),
        ]
        try:
            await asyncio.gather(*answering)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("doorbell.unreachable", cause=repr(error), pause_seconds=pause)
        finally:
            await asyncio.gather(*map(_cancel, answering))
            with suppress(RedisError, OSError):  # closing can take too long, too
                await redis.aclose(close_connection_pool=True)
        pause = FIRST_PAUSE_SECONDS if loop.time() - started > STEADY_SECONDS else pause
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _answer_rings(redis: ArqRedis, consumer: Claimer) -> None:
    while True:
        if not consumer.has_free_slot:
            await asyncio.sleep(FULL_SECONDS)
            continue
        ring = cast("Ring | None", await redis.bzpopmin(QUEUE_NAME, WAIT_SECONDS))
        if ring is None:
            continue
        if consumer.has_free_slot:
            consumer.wake()
        else:
            _, ring_id, rung_at = ring
            await redis.zadd(QUEUE_NAME, {ring_id: rung_at})  # for a worker with a free slot


async def _receive_messages(redis: ArqRedis, consumer: Claimer, helpers: Helpers) -> None:
    try:
        async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(*helpers.channels)
            await helpers.start()
            while True:
                message = await subscription.get_message(timeout=MESSAGE_SECONDS)
                if message is not None:
                    await helpers.receive(message["channel"].decode(), message["data"], is_idle=consumer.is_idle)
    except NoPermissionError as error:
        log.warning("helpers.not_permitted", cause=str(error))
    except KeyUnusable as error:
        log.warning("helpers.key_unusable", cause=str(error))
    finally:
        helpers.stop()
    await asyncio.Event().wait()  # until it is cancelled, because rings may still come


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends, because redis-py sometimes swallows a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
