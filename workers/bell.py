"""Listens for the doorbell: runs arq's worker beside the claim loop, and restarts it after Redis outages.

arq's worker ends when Redis goes down. The claim loop must not.
"""

import asyncio
from contextlib import suppress
from typing import Any

from arq.worker import Worker
from redis.exceptions import RedisError

from pipeline.logs import get_logger
from pipeline.notify.doorbell import QUEUE_NAME, connect
from workers import tasks
from workers.consumer import Consumer

POLL_SECONDS = 0.05
"""Interval at which arq polls Redis for rings."""
REDIS_TIMEOUT_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""After a connection that lasted this long, the next pause is short again."""

CANCEL_SECONDS = 0.1
"""Interval at which a cancellation is repeated."""

ARQ_OPTIONS: dict[str, Any] = {
    "functions": [tasks.ring],
    "queue_name": QUEUE_NAME,
    "poll_delay": POLL_SECONDS,
    "max_jobs": 10,
    "max_tries": 1,
    "job_timeout": 5,
    "keep_result": 0,
}
"""A ring is tried once, and its result is not kept, because nothing reads it."""

log = get_logger()


class Listener(Worker):
    """arq's worker, except that it leaves rings to other processes while its consumer has no free slot."""

    async def _poll_iteration(self) -> None:
        self.allow_pick_jobs = self.ctx["consumer"].has_free_slot
        await super()._poll_iteration()


async def listen(dsn: str, consumer: Consumer) -> None:
    """Receive rings until cancelled. While Redis is down, retry after 1 s, then after longer pauses of up to 10 s."""
    pause = FIRST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        redis = connect(dsn, timeout_seconds=REDIS_TIMEOUT_SECONDS)
        worker = Listener(
            **ARQ_OPTIONS,
            redis_pool=redis,
            handle_signals=False,
            job_deserializer=redis.job_deserializer,
            job_serializer=redis.job_serializer,
            ctx={"consumer": consumer},
        )
        running = asyncio.create_task(worker.async_run())
        try:
            await asyncio.shield(running)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("doorbell.unreachable", cause=repr(error), pause_seconds=pause)
        finally:
            await _cancel(running)
            with suppress(RedisError, OSError):  # closing can take too long, too
                await redis.aclose(close_connection_pool=True)
        pause = FIRST_PAUSE_SECONDS if loop.time() - started > STEADY_SECONDS else pause
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends, because arq sometimes swallows a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
