"""The composition root: builds the parts of an API or worker process and passes them to each other."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.db import worker_secrets
from pipeline.db.candidates import DEFAULT_BOUNDS, SearchBounds
from pipeline.db.session import Database
from pipeline.embedding.active_model import CHECK_SECONDS, Encoders
from pipeline.embedding.cosine_scales import CosineScales
from pipeline.embedding.factory import make_encoder
from pipeline.embedding.helpers import Helpers
from pipeline.embedding.text_encoder import TextEncoder
from pipeline.fair_queue import FairQueue
from pipeline.llm.client import LanguageModel
from pipeline.logs import get_logger
from pipeline.notify.change_feed import ChangeFeed
from pipeline.notify.doorbell import Doorbell, read_database_number
from pipeline.queue_front import SharedFront, share_front
from pipeline.reading_turns import ReadingTurns
from pipeline.recent_logins import RecentLogins
from pipeline.reranking.factory import make_reranker
from pipeline.reranking.reranker import Reranker
from pipeline.sandbox.confinement import find_layers, find_problems
from pipeline.sandbox.pool import Sandbox, require_layers
from pipeline.settings import Settings
from pipeline.threads import make_executor

log = get_logger()

WORKER_DATABASE_TIMEOUT_SECONDS = 30.0
"""Longer than the API's, because waiting for PostgreSQL costs a worker less than repeating an attempt."""
LOST_HELPER_SECONDS = 30.0
"""Time for which a worker asks no helper after one did not answer."""
PAGE_IMAGES_WAITING = 64
"""Maximum number of page images that wait to be drawn, one at a time, so that they use one processor only."""
PAGE_IMAGES_WAITING_PER_CALLER = 16
"""Maximum number of those of one account. One browser never requests that many at once."""

EXTRACTIONS_AT_ONCE = 2
"""Maximum number of files whose text a process returns at the same time, without storing them."""
EXTRACTIONS_WAITING, EXTRACTIONS_WAITING_PER_CALLER = 32, 8
"""Maximum number of those that wait for their turn, and of those of one account."""

RESOLVERS = 4
"""Number of threads that resolve the names in addresses of webhooks. Slow name servers occupy only these."""

SEARCHES_AT_ONCE = 64
"""Maximum number of searches that a process runs at the same time."""
SEARCHES_AT_ONCE_PER_CALLER = 16
"""Maximum number of those of one account. Their questions share forward passes, which saves two thirds of the time."""
STATEMENTS_AT_ONCE_PER_CALLER = 4
"""Maximum number of searches of one account that use the database. More would make the others wait for it."""
SEARCHES_WAITING = 2000
"""Maximum number of searches that wait for their turn."""
SEARCHES_WAITING_PER_CALLER = 400
"""Maximum number of those of one account."""

HASHES_AT_ONCE = 2
"""Maximum number of passwords that a process hashes at the same time. A hash takes 50 ms and 19 MiB."""
HASHES_WAITING = 64
"""Maximum number of logins and registrations that wait for their turn: 2 seconds of work."""
HASHES_WAITING_PER_CALLER = 16
"""Maximum number of those from one network: a second of work, because a network has one turn at a time."""


def make_hashing_queue() -> FairQueue:
    """Return the queue of a process for the hashing of passwords."""
    return FairQueue(at_once=HASHES_AT_ONCE, waiting=HASHES_WAITING, waiting_per_caller=HASHES_WAITING_PER_CALLER)


def make_drawing_queue() -> FairQueue:
    """Return the queue of a process for page images."""
    return FairQueue(at_once=1, waiting=PAGE_IMAGES_WAITING, waiting_per_caller=PAGE_IMAGES_WAITING_PER_CALLER)


def make_extraction_queue() -> FairQueue:
    """Return the queue of a process for files whose text is only returned."""
    return FairQueue(
        at_once=EXTRACTIONS_AT_ONCE, waiting=EXTRACTIONS_WAITING, waiting_per_caller=EXTRACTIONS_WAITING_PER_CALLER
    )


def make_search_queue() -> FairQueue:
    """Return the queue of a process for searches."""
    return FairQueue(
        at_once=SEARCHES_AT_ONCE,
        at_once_per_caller=SEARCHES_AT_ONCE_PER_CALLER,
        waiting=SEARCHES_WAITING,
        waiting_per_caller=SEARCHES_WAITING_PER_CALLER,
    )


def make_statement_queue() -> FairQueue:
    """Return the queue of a process for the statements of searches.

    It has room for every search whose question is embedded, and for as many by words as could wait for the encoder.
    """
    return FairQueue(
        at_once=SEARCHES_AT_ONCE,
        at_once_per_caller=STATEMENTS_AT_ONCE_PER_CALLER,
        waiting=SEARCHES_AT_ONCE + SEARCHES_WAITING,
        waiting_per_caller=SEARCHES_AT_ONCE_PER_CALLER + SEARCHES_WAITING_PER_CALLER,
    )


@dataclass(frozen=True)
class Waits:
    """Intervals in seconds. Tests change them; the service runs with these defaults."""

    model_check: float = CHECK_SECONDS
    """Between two checks of the active embedding model."""
    token_check: float = 3.0
    """Between two reads of an account's token generation, and between two checks of the token of a long request."""
    key_check: float = 0.3
    """The same for an API key. Twice this is well below a second, after which no process accepts a revoked key."""
    poll: float = 1.0
    """Between two reads of a document or note that a client waits for, in case a notification was lost."""
    queue_position: float = 5.0
    """Between two reads of the queue positions that an event stream reports."""
    keep_alive: float = 15.0
    """Between two comments on an idle event stream."""
    metrics: float = 1.0
    """Between two collections of a process's metrics."""
    status_counts: float = 5.0
    """Between two counts of all documents and notes for the metrics. A count reads every row."""


@dataclass(frozen=True)
class Runtime:
    """The parts that use cases and workers use."""

    settings: Settings
    waits: Waits
    database: Database
    redis_breaker: CircuitBreaker
    doorbell: Doorbell
    encoders: Encoders
    helpers: Helpers
    """The other workers, which help to embed long documents."""
    sandbox: Sandbox
    changes: ChangeFeed
    queue_front: SharedFront
    llm: LanguageModel | None
    """Writes answers. If None, answers are quotations."""
    reranker: Reranker | None = None
    """Reorders the best passages of a search. If None, they keep the order of their scores."""
    search_bounds: SearchBounds = DEFAULT_BOUNDS
    hashing_queue: FairQueue = field(default_factory=make_hashing_queue)
    """Where logins and registrations wait for the hashing of their password."""
    drawing_queue: FairQueue = field(default_factory=make_drawing_queue)
    """Where page images wait to be drawn."""
    extraction_queue: FairQueue = field(default_factory=make_extraction_queue)
    """Where files wait whose text is only returned."""
    search_queue: FairQueue = field(default_factory=make_search_queue)
    """Where searches wait for the encoder. Those by words do not."""
    statement_queue: FairQueue = field(default_factory=make_statement_queue)
    """Where searches, with the vectors of their questions, and lists of documents wait for the database."""
    resolvers: Executor = field(default_factory=partial(make_executor, RESOLVERS))
    """Resolve names that users have chosen."""
    reading_turns: ReadingTurns = field(default_factory=ReadingTurns)
    """Where the event streams of an account wait to read."""
    recent_logins: RecentLogins = field(default_factory=RecentLogins)
    cosine_scales: CosineScales = field(default_factory=CosineScales)
    """Make the scores of searches with different embedding models comparable."""

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of the active model. Read it again for each piece of work: the model may change."""
        return self.encoders.active


async def _find_message_key(database: Database) -> bytes | None:
    async with database.transaction() as session:
        return await worker_secrets.find_message_key(session)


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    database_timeout_seconds: float,
    encoder: TextEncoder | None = None,
    sandbox: Sandbox | None = None,
    waits: Waits | None = None,
) -> AsyncIterator[Runtime]:
    """Build the parts, and close them at the end.

    The encoders connect to PostgreSQL at once. The other parts connect on first use.
    A given `encoder` (for `settings.embedding_model`) or `sandbox` is shared, and stays open at the end.
    Raises SettingsError if DATABASE_URL is missing, or a layer of the sandbox that is required.
    """
    require_layers(settings)
    choose_temporary_folder()
    log.info("sandbox.layers", active=sorted(find_layers()), missing=find_problems())
    url = settings.sqlalchemy_url
    waits = waits or Waits()
    redis_breaker = CircuitBreaker("redis", metrics.REDIS_FAILURES)
    is_pooled = settings.database_transaction_pooling
    database = Database(
        url,
        pool_size=settings.database_pool_size,
        timeout_seconds=database_timeout_seconds,
        is_pooled=is_pooled,
    )
    doorbell = Doorbell(settings.redis_dsn, redis_breaker)
    encoders = Encoders(
        database,
        settings.embedding_model,
        make=lambda name: make_encoder(settings, name),
        shared=encoder,
        check_seconds=waits.model_check,
    )
    runtime = Runtime(
        settings=settings,
        waits=waits,
        database=database,
        redis_breaker=redis_breaker,
        doorbell=doorbell,
        encoders=encoders,
        helpers=Helpers(
            doorbell.send,
            lambda: encoders.active,
            CircuitBreaker("helper", metrics.HELPER_FAILURES, LOST_HELPER_SECONDS),
            partial(_find_message_key, database),
            group=str(read_database_number(settings.redis_dsn)),
        ),
        sandbox=sandbox or Sandbox(),
        changes=ChangeFeed(url, timeout_seconds=database_timeout_seconds, is_pooled=is_pooled),
        queue_front=share_front(database),
        llm=make_language_model(settings),
        reranker=make_reranker(settings),
    )
    asyncio.get_running_loop().set_default_executor(make_executor())
    runtime.encoders.start()
    try:
        yield runtime
    finally:
        if runtime.llm:
            await runtime.llm.close()
        if runtime.reranker:
            await runtime.reranker.close()
        await runtime.changes.close()
        await runtime.encoders.close()
        if sandbox is None:
            await runtime.sandbox.close()
        await runtime.doorbell.close()
        await runtime.database.close()
        runtime.resolvers.shutdown(wait=False, cancel_futures=True)


def choose_temporary_folder() -> None:
    """Find the folder for temporary files once: a search that fails later would hide why a file cannot be opened.

    Python accepts no folder on a full disk. Then it is TMPDIR or /tmp, and errors say that the disk is full.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - a folder, not the name of a file


def make_language_model(settings: Settings) -> LanguageModel | None:
    """Return the language model that the settings name, or None."""
    if settings.llm_base_url is None or settings.llm_model is None:
        return None
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    breaker = CircuitBreaker("llm", metrics.LLM_FAILURES)
    return LanguageModel(str(settings.llm_base_url), settings.llm_model, key, settings.llm_timeout_seconds, breaker)
