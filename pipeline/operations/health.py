"""Health checks of this process, and its metrics."""

import asyncio
from dataclasses import dataclass
from itertools import product
from math import nan

from sqlalchemy.exc import ProgrammingError

from pipeline import metrics
from pipeline.db import schema, statistics
from pipeline.errors import DatabaseUnavailable, UnsafeDatabase
from pipeline.runtime import Runtime
from pipeline.sandbox.confinement import summarize_layers
from pipeline.shared_reading import SharedReading
from pipeline.types import Status, SubjectKind

BUDGET_SECONDS = 0.8
"""Time limit for PostgreSQL, so that readiness responds within a second even if a part hangs."""


@dataclass(frozen=True, slots=True)
class Checks:
    """State of each part: `ok`, or one word for the problem."""

    database: str
    migrations: str
    embedding_model: str
    redis: str
    sandbox: str

    @property
    def are_ready(self) -> bool:
        """True if requests can be served. Redis and the layers of the sandbox are not required.

        A read-only database and one that is newer than this code can serve requests, too. Without the embedding server
        uploads and searches by words still work, so an interruption takes no process out of the balancer.
        """
        is_readable = self.database in ("ok", "read_only")
        has_model = self.embedding_model in ("ok", "interrupted")
        return is_readable and has_model and self.migrations in ("ok", "ahead")


async def check(runtime: Runtime) -> Checks:
    """Check all parts concurrently."""
    (database, migrations), redis = await asyncio.gather(_check_database(runtime), _check_redis(runtime))
    return Checks(
        database=database,
        migrations=migrations,
        embedding_model=_check_model(runtime),
        redis=redis,
        sandbox=summarize_layers(),
    )


def _check_model(runtime: Runtime) -> str:
    if runtime.encoders.is_mismatched:
        return "mismatch"
    if runtime.encoders.is_ready:
        return "ok"
    if runtime.encoders.is_interrupted:
        return "interrupted"
    return "unavailable" if runtime.encoders.is_unavailable else "loading"


async def _check_database(runtime: Runtime) -> tuple[str, str]:
    try:
        async with asyncio.timeout(BUDGET_SECONDS), runtime.database.transaction() as session:
            is_read_only = await schema.is_read_only(session)
            revision = await schema.read_revision(session)
    except UnsafeDatabase:
        return "unsafe", "unknown"
    except (DatabaseUnavailable, TimeoutError):
        return "unavailable", "unknown"
    except ProgrammingError:  # the migrations stopped before the one that gives the service its rights
        return "ok", "behind"
    return "read_only" if is_read_only else "ok", schema.compare_revision(revision)


async def _check_redis(runtime: Runtime) -> str:
    is_answering = await runtime.doorbell.is_answering()
    metrics.REDIS_UP.set(is_answering)
    return "ok" if is_answering else "degraded"


class MetricsText:
    """The metrics of this process, at most `Waits.metrics` seconds old.

    Nobody needs a token for them unless METRICS_TOKEN is set. So their cost must not grow with the number of requests.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._counts = SharedReading(self._count, seconds=runtime.waits.status_counts)
        self._text = SharedReading(self._render, seconds=runtime.waits.metrics)

    async def read(self) -> bytes:
        """Return all metrics as Prometheus text. Those read from PostgreSQL are NaN while it is unavailable."""
        return await self._text.read()

    async def _render(self) -> bytes:
        await _check_redis(self._runtime)
        counts = await self._counts.read()
        missing = nan if counts is None else 0.0
        for key in product(SubjectKind, Status):
            count = counts.get(key) if counts else None
            metrics.SUBJECTS.labels(*key).set(count.subjects if count else missing)
            metrics.OLDEST_SECONDS.labels(*key).set(count.oldest_seconds if count else missing)
        return await asyncio.to_thread(metrics.render)

    async def _count(self) -> dict[tuple[str, str], statistics.StatusCount] | None:
        """Count documents and notes. Return None if PostgreSQL is unavailable."""
        try:
            async with self._runtime.database.transaction() as session:
                return {(count.kind, count.status): count for count in await statistics.count_statuses(session)}
        except DatabaseUnavailable:
            return None
