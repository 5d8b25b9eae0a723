"""The composition root: the only place that builds the parts and gives them to each other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipeline.breaker import Breaker
from pipeline.changes import ChangeFeed
from pipeline.db.queue import CHANGES_CHANNEL
from pipeline.db.session import Database
from pipeline.doorbell import Doorbell
from pipeline.encoder import Encoder
from pipeline.sandbox import Sandbox
from pipeline.settings import Settings

WORKER_DATABASE_TIMEOUT_SECONDS = 30.0
"""A worker would rather wait for PostgreSQL than do its work again."""


@dataclass(frozen=True)
class Runtime:
    """What the use cases work with."""

    settings: Settings
    database: Database
    redis_breaker: Breaker
    doorbell: Doorbell
    encoder: Encoder
    sandbox: Sandbox
    changes: ChangeFeed


@asynccontextmanager
async def open_runtime(settings: Settings, *, database_timeout_seconds: float) -> AsyncIterator[Runtime]:
    """Build the parts and close them at the end. Nothing connects before it is used.

    Raises SettingsError where DATABASE_URL is missing.
    """
    url = settings.sqlalchemy_url
    redis_breaker = Breaker()
    runtime = Runtime(
        settings=settings,
        database=Database(url, pool_size=settings.database_pool_size, timeout_seconds=database_timeout_seconds),
        redis_breaker=redis_breaker,
        doorbell=Doorbell(settings.redis_dsn, redis_breaker),
        encoder=Encoder(settings.embedding_model),
        sandbox=Sandbox(),
        changes=ChangeFeed(url, CHANGES_CHANNEL, timeout_seconds=database_timeout_seconds),
    )
    runtime.encoder.start()
    try:
        yield runtime
    finally:
        await runtime.changes.close()
        await runtime.encoder.close()
        await runtime.sandbox.close()
        await runtime.doorbell.close()
        await runtime.database.close()
