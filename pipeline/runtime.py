"""The composition root: the only place that builds the parts and gives them to each other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.db.session import Database
from pipeline.embedding.active_model import Encoders
from pipeline.embedding.encoder import Encoder
from pipeline.llm.client import LanguageModel
from pipeline.notify.change_feed import ChangeFeed
from pipeline.notify.doorbell import Doorbell
from pipeline.sandbox.limiter import Limiter
from pipeline.sandbox.pool import Sandbox
from pipeline.settings import Settings

WORKER_DATABASE_TIMEOUT_SECONDS = 30.0
"""A worker would rather wait for PostgreSQL than do its work again."""
PAGE_IMAGES_WAITING = 16
"""More than that a browser does not ask for at once."""


@dataclass(frozen=True)
class Runtime:
    """What the use cases work with."""

    settings: Settings
    database: Database
    redis_breaker: CircuitBreaker
    doorbell: Doorbell
    encoders: Encoders
    sandbox: Sandbox
    drawing_limiter: Limiter
    """Pictures of pages take one processor at most."""
    changes: ChangeFeed
    llm: LanguageModel | None
    """Who writes answers; None: answers are quotations."""

    @property
    def encoder(self) -> Encoder:
        """The model that answers; ask again for each piece of work."""
        return self.encoders.active


@asynccontextmanager
async def open_runtime(settings: Settings, *, database_timeout_seconds: float) -> AsyncIterator[Runtime]:
    """Build the parts and close them at the end. Nothing connects before it is used.

    Raises SettingsError where DATABASE_URL is missing.
    """
    url = settings.sqlalchemy_url
    redis_breaker = CircuitBreaker("redis", metrics.REDIS_FAILURES)
    database = Database(url, pool_size=settings.database_pool_size, timeout_seconds=database_timeout_seconds)
    runtime = Runtime(
        settings=settings,
        database=database,
        redis_breaker=redis_breaker,
        doorbell=Doorbell(settings.redis_dsn, redis_breaker),
        encoders=Encoders(database, settings.embedding_model),
        sandbox=Sandbox(),
        drawing_limiter=Limiter(at_once=1, waiting=PAGE_IMAGES_WAITING),
        changes=ChangeFeed(url, timeout_seconds=database_timeout_seconds),
        llm=make_language_model(settings),
    )
    runtime.encoders.start()
    try:
        yield runtime
    finally:
        if runtime.llm:
            await runtime.llm.close()
        await runtime.changes.close()
        await runtime.encoders.close()
        await runtime.sandbox.close()
        await runtime.doorbell.close()
        await runtime.database.close()


def make_language_model(settings: Settings) -> LanguageModel | None:
    """Return who writes answers, if there is anybody."""
    if settings.llm_base_url is None or settings.llm_model is None:
        return None
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    breaker = CircuitBreaker("llm", metrics.LLM_FAILURES)
    return LanguageModel(str(settings.llm_base_url), settings.llm_model, key, settings.llm_timeout_seconds, breaker)
