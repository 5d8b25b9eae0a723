"""The ends of an attempt that is not `ready`: the subject fails, or the job goes back to the queue."""

import asyncio
from datetime import timedelta
from math import inf
from time import monotonic

from pipeline import metrics
from pipeline.db import queue
from pipeline.errors import DatabaseUnavailable, FailureCode, IngestionError, LeaseLost, SluiceError, StorageFull
from pipeline.ingest.attempt import Attempt
from pipeline.logs import get_logger

OUTAGE_SECONDS = 60.0
"""How long to retry giving a job back while the database is down. After that its lease expires."""
FULL_DISK_PAUSE = timedelta(seconds=15)
"""Pause before a job is retried after a full disk."""
MODEL_PAUSE = timedelta(seconds=1)
"""Pause before a job is retried after a change of the model: this process may not have noticed the change yet."""
STOP_SECONDS = 2.0
"""How long a stopping worker retries giving a job back."""

RETRYABLE = frozenset({FailureCode.EMBEDDING_FAILED, FailureCode.WORKER_LOST})

log = get_logger()


async def fail(attempt: Attempt, error: IngestionError) -> None:
    """Mark the subject `failed` with the reason, or queue it again if the failure may be temporary."""
    may_pass = error.failure in RETRYABLE
    try:
        async with attempt.transaction() as session:
            tries_again = may_pass and await queue.retry_or_fail(session, attempt.lease, error)
            if not may_pass:
                await queue.fail(session, attempt.lease, error)
    except LeaseLost:
        log.info("ingestion.lease_lost", **attempt.log_fields)
    except DatabaseUnavailable as outage:
        await give_back_after_outage(attempt, outage)
    else:
        metrics.INGESTIONS.labels(attempt.kind, error.code).inc()
        log.info("ingestion.failed", **attempt.log_fields, code=error.code, tries_again=tries_again)


async def give_back_after_outage(attempt: Attempt, error: DatabaseUnavailable) -> None:
    """Return the job to the queue when the database answers again."""
    log.warning("ingestion.interrupted", **attempt.log_fields, code=error.code, cause=repr(error.__cause__))
    if isinstance(error, StorageFull):
        # Even this small write may find no space. Waiting until there is some is all that can be done.
        await _give_back(attempt, inf, FULL_DISK_PAUSE)
    else:
        await _give_back(attempt, OUTAGE_SECONDS)


async def give_back_after_model_change(attempt: Attempt) -> None:
    """Return the job to the queue: its vectors were made by a model that is no longer active."""
    log.info("ingestion.model_replaced", **attempt.log_fields)
    await _give_back(attempt, OUTAGE_SECONDS, MODEL_PAUSE)


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
