"""`arq workers.main.WorkerSettings`: the same worker, started by arq's command line.

It ends when Redis goes down, because arq does, and must then be restarted. `python -m workers` survives Redis outages.
"""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from arq.connections import RedisSettings

from pipeline.logs import configure_logging
from pipeline.notify.doorbell import QUEUE_NAME, serialize
from pipeline.sandbox.kernel import hide_memory
from pipeline.settings import load_settings
from workers.consumer import open_consumer
from workers.ending import exit_on_failure
from workers.tasks import ring

POLL_SECONDS = 0.05
"""Interval at which arq polls Redis for rings."""

hide_memory()
_settings = load_settings()


async def start_consumer(context: dict[str, Any]) -> None:
    """Start the claim loop beside arq's worker."""
    configure_logging(_settings.log_level)
    stack = AsyncExitStack()
    consumer = await stack.enter_async_context(open_consumer(_settings))
    claiming = asyncio.create_task(consumer.run())
    claiming.add_done_callback(exit_on_failure)
    context.update(consumer=consumer, stack=stack, claiming=claiming)


async def stop_consumer(context: dict[str, Any]) -> None:
    """Stop the claim loop. It finishes its jobs or returns them to the queue."""
    context["consumer"].stop()
    await context["claiming"]
    await context["stack"].aclose()


WorkerSettings: dict[str, Any] = {
    # A ring is tried once, and its result is not kept, because nothing reads it.
    "functions": [ring],
    "queue_name": QUEUE_NAME,
    "poll_delay": POLL_SECONDS,
    "max_jobs": 10,
    "max_tries": 1,
    "job_timeout": 5,
    "keep_result": 0,
    "redis_settings": RedisSettings.from_dsn(_settings.redis_dsn),
    "on_startup": start_consumer,
    "on_shutdown": stop_consumer,
    "job_serializer": serialize,
    "job_deserializer": json.loads,
}
