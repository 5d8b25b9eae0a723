"""`arq workers.main.WorkerSettings`: the same worker under arq's own command line.

It ends when Redis dies, as arq does, and must be restarted from outside; `python -m workers` needs no such care.
"""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from arq.connections import RedisSettings

from pipeline.logs import configure_logging
from pipeline.notify.doorbell import serialize
from pipeline.settings import load_settings
from workers.bell import ARQ_OPTIONS
from workers.consumer import open_consumer

_settings = load_settings()


async def start_consumer(context: dict[str, Any]) -> None:
    """Start the claim loop beside arq."""
    configure_logging(_settings.log_level)
    stack = AsyncExitStack()
    consumer = await stack.enter_async_context(open_consumer(_settings))
    context.update(consumer=consumer, stack=stack, claiming=asyncio.create_task(consumer.run()))


async def stop_consumer(context: dict[str, Any]) -> None:
    """Finish the jobs in hand, or give them back."""
    context["consumer"].stop()
    await context["claiming"]
    await context["stack"].aclose()


WorkerSettings: dict[str, Any] = {
    **ARQ_OPTIONS,
    "redis_settings": RedisSettings.from_dsn(_settings.redis_dsn),
    "on_startup": start_consumer,
    "on_shutdown": stop_consumer,
    "job_serializer": serialize,
    "job_deserializer": json.loads,
}
