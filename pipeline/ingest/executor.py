"""Runs one attempt, from the claimed job to `ready` or `failed`: the steps in order, and the error boundary."""

import asyncio
import re
from contextlib import aclosing
from time import monotonic

from pipeline import metrics
from pipeline.errors import (
    DatabaseUnavailable,
    FailureCode,
    IngestionError,
    LeaseLost,
    ModelUnavailable,
    NotFound,
    SandboxUnavailable,
    TooManyFiles,
)
from pipeline.ingest import release
from pipeline.ingest.attempt import Attempt
from pipeline.ingest.embed import Content, embed, split_pages
from pipeline.ingest.read import Source, open_document, open_note, read_ahead, read_first
from pipeline.ingest.store import store
from pipeline.ingest.vectors import add_next_vectors
from pipeline.logs import get_logger
from pipeline.runtime import Runtime
from pipeline.types import JobKind, Lease, OnStage, Stage

log = get_logger()

LETTER_OR_DIGIT = re.compile(r"[^\W_]")
"""A text without one consists of dots, lines or invisible characters."""


async def ingest(runtime: Runtime, lease: Lease, on_stage: OnStage) -> None:
    """Run a claimed job to its end. However the attempt ends, the subject does not stay `processing`.

    If the call is cancelled, the job goes back to the queue.
    """
    attempt = Attempt(runtime, lease, on_stage)
    try:
        await _execute(attempt)
    except (LeaseLost, NotFound):
        log.info("ingestion.lease_lost", **attempt.log_fields)
    except IngestionError as error:
        await release.fail(attempt, error)
    except DatabaseUnavailable as error:
        await release.give_back_after_outage(attempt, error)
    except ModelUnavailable as error:
        await release.give_back_after_model_change(attempt, error)
    except (SandboxUnavailable, TooManyFiles) as error:
        await release.give_back_exhausted(attempt, error)
    except asyncio.CancelledError:
        await asyncio.shield(release.give_back_on_stop(attempt))
        raise
    except Exception:
        # The boundary of one attempt: an unforeseen error fails its subject, not the worker.
        log.exception("ingestion.crashed", **attempt.log_fields)
        message = "The worker failed unexpectedly. Retry; if it fails again, report it."
        await release.fail(attempt, IngestionError(FailureCode.WORKER_LOST, message))


async def _execute(attempt: Attempt) -> None:
    started = monotonic()
    await attempt.reach(Stage.CLAIMED, 0.0)
    match attempt.kind:
        case JobKind.DOCUMENT:
            content = await _make_content(attempt, await open_document(attempt))
        case JobKind.NOTE:
            content = await _make_content(attempt, await open_note(attempt))
        case JobKind.DOCUMENT_VECTORS | JobKind.NOTE_VECTORS:
            await add_next_vectors(attempt)
            return
    await store(attempt, content)
    _record_ready(attempt, content, monotonic() - started)


async def _make_content(attempt: Attempt, source: Source) -> Content:
    """Read, split and embed. Each step consumes the stream of the previous step.

    Raises IngestionError if the document has no text.
    """
    read = read_first if attempt.lease.is_suspect else read_ahead
    async with (
        aclosing(read(source.pages)) as batches,
        aclosing(split_pages(attempt, batches, source.heading)) as splits,
    ):
        content = await embed(attempt, splits, source.encoder, source.known, source.heading)
    if source.no_text and not any(LETTER_OR_DIGIT.search(chunk.text) for chunk in content.chunks):
        raise IngestionError(FailureCode.NO_TEXT, source.no_text)
    return content


def _record_ready(attempt: Attempt, content: Content, seconds: float) -> None:
    metrics.INGESTIONS.labels(attempt.kind, "ready").inc()
    log.info(
        "ingestion.ready",
        **attempt.log_fields,
        pages=len(content.pages),
        chunks=len(content.chunks),
        reused=content.reused,
        seconds=round(seconds, 2),
    )
