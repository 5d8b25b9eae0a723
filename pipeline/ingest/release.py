"""Ends an attempt without `ready`: marks the subject `failed`, or returns the job to the queue."""

import asyncio
from datetime import timedelta
from math import inf
from time import monotonic

from pipeline import metrics
from pipeline.db import queue
from pipeline.errors import (
    RETRYABLE,
    DatabaseUnavailable,
    DimensionChanged,
    IngestionError,
    LeaseLost,
    ModelUnavailable,
    SandboxUnavailable,
    SluiceError,
    StorageFull,
    TooManyFiles,
)
from pipeline.ingest.attempt import Attempt
from pipeline.logs import get_logger

OUTAGE_SECONDS = 60.0
"""Time for which giving a job back is retried while the database is down. After that, its lease expires."""
FULL_DISK_PAUSE = queue.LONGEST_PAUSE
"""Pause before a job is retried after a full disk."""
MODEL_PAUSE = timedelta(seconds=1)
"""Pause before a job is retried after a switch of models, so that this process notices the switch first."""
DIMENSION_PAUSE = queue.LONGEST_PAUSE
"""Pause before a job is retried after a change of the dimension. Each attempt embeds the document again."""
SANDBOX_PAUSE = timedelta(seconds=5)
"""Pause before a job is retried after no process could be started."""
STOP_SECONDS = 2.0
"""Time for which a stopping worker retries giving a job back."""

log = get_logger()


async def fail(attempt: Attempt, error: IngestionError) -> None:
    """Mark the subject `failed` with the reason, or queue it again if the failure may be temporary."""
    is_retryable = error.failure in RETRYABLE
    try:
        async with attempt.transaction() as session:
            tries_again = is_retryable and await queue.retry_or_fail(session, attempt.lease, error)
            if not is_retryable:
                await queue.fail(session, attempt.lease, error)
    except LeaseLost:
        log.info("ingestion.lease_lost", **attempt.log_fields)
    except DatabaseUnavailable as outage:
        await give_back_after_outage(attempt, outage)
    else:
        metrics.INGESTIONS.labels(attempt.kind, error.code).inc()
        # Only the type of the cause is logged: its message may quote the document.
        cause = type(error.__cause__).__name__ if error.__cause__ else None
        log.info("ingestion.failed", **attempt.log_fields, code=error.code, cause=cause, tries_again=tries_again)


async def give_back_after_outage(attempt: Attempt, error: DatabaseUnavailable) -> None:
    """Return the job to the queue when the database answers again."""
    log.warning("ingestion.interrupted", **attempt.log_fields, code=error.code, cause=repr(error.__cause__))
    if isinstance(error, StorageFull):
        # Even this small write may find no space, so retry until there is some.
        await _give_back(attempt, inf, FULL_DISK_PAUSE)
    else:
        await _give_back(attempt, OUTAGE_SECONDS)


async def give_back_after_model_change(attempt: Attempt, error: ModelUnavailable) -> None:
    """Return the job to the queue, because its model has been replaced or is not available."""
    log.info("ingestion.model_replaced", **attempt.log_fields)
    await _give_back(attempt, OUTAGE_SECONDS, DIMENSION_PAUSE if isinstance(error, DimensionChanged) else MODEL_PAUSE)


async def give_back_exhausted(attempt: Attempt, error: SandboxUnavailable | TooManyFiles) -> None:
    """Return the job to the queue, because no process could be started to read its file, or no file be opened."""
    log.warning("ingestion.interrupted", **attempt.log_fields, code=error.code, cause=repr(error.__cause__))
    await _give_back(attempt, OUTAGE_SECONDS, SANDBOX_PAUSE)


async def give_back_on_stop(attempt: Attempt) -> None:
    """Return the job to the queue because this worker stops."""
    await _give_back(attempt, STOP_SECONDS)


async def _give_back(attempt: Attempt, seconds: float, pause: timedelta = timedelta()) -> None:
    """Return the job without counting the attempt. Retry for `seconds` while the database does not answer."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        try:
            async with attempt.transaction() as session:
                await queue.give_back(session, attempt.lease, pause)
        except DatabaseUnavailable:
            await asyncio.sleep(1.0)
        except SluiceError:
            return
        else:
            log.info("ingestion.given_back", **attempt.log_fields)
            return
