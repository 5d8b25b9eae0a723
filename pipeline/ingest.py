"""One ingestion, from the claimed job to `ready` or `failed`: the steps and their one boundary."""

import asyncio
import tempfile
from contextlib import aclosing
from time import monotonic
from typing import BinaryIO

import numpy as np

from pipeline.db import access, chunks, contents, queue
from pipeline.errors import DatabaseUnavailable, FailureCode, IngestionError, LeaseLost, NotFound, SluiceError
from pipeline.lease import HeldLease
from pipeline.logs import get_logger
from pipeline.runtime import Runtime
from pipeline.sandbox import extract
from pipeline.stages.chunk import split_page
from pipeline.stages.extract.frames import Limits
from pipeline.types import Lease, OnStage, PageText, Stage, TextChunk

EMBED_AT_ONCE = 32
REPORT_SECONDS = 0.5
RETURN_SECONDS = 60.0
"""So long we try to give a job back while the database is away; then its lease runs out anyway."""

EXTRACTED, CHUNKED, EMBEDDED = 0.4, 0.45, 0.95
"""Progress at the end of each stage."""

log = get_logger()


class StageReporter:
    """The `on_stage` of real workers: keeps the lease, reports progress twice a second, lets tests interfere."""

    def __init__(self, runtime: Runtime, held: HeldLease, fault: OnStage | None) -> None:
        self._runtime = runtime
        self._held = held
        self._fault = fault
        self._reported_at = 0.0

    async def __call__(self, lease: Lease, stage: Stage, progress: float) -> None:
        """Note that `stage` is reached.

        Raises LeaseLost where somebody else has the job.
        """
        self._held.touch()
        if self._fault:
            await self._fault(lease, stage, progress)
        inside_transaction = stage in (Stage.STORING, Stage.FINISHING, Stage.STORED)
        if inside_transaction or monotonic() < self._reported_at + REPORT_SECONDS:
            return
        self._reported_at = monotonic()
        async with self._runtime.database.transaction() as session:
            await queue.report_progress(session, lease, progress)


async def ingest(runtime: Runtime, lease: Lease, on_stage: OnStage) -> None:
    """Do a claimed job to its end; whatever happens, the document does not stay `processing`.

    Cancelling it gives the job back.
    """
    try:
        await _ingest(runtime, lease, on_stage)
    except (LeaseLost, NotFound):
        log.info("ingestion.lease_lost", document_id=str(lease.subject_id))
    except IngestionError as error:
        await _end_failed(runtime, lease, error)
    except (DatabaseUnavailable, asyncio.CancelledError) as reason:
        await asyncio.shield(_give_back(runtime, lease))
        if isinstance(reason, asyncio.CancelledError):
            raise
    except Exception:
        # The boundary of one ingestion: an error that nobody foresaw is this document's, never the worker's.
        log.exception("ingestion.crashed", document_id=str(lease.subject_id))
        message = "The worker failed on this file. Retry; if it fails again, report it."
        await _end_failed(runtime, lease, IngestionError(FailureCode.WORKER_LOST, message))


async def _ingest(runtime: Runtime, lease: Lease, on_stage: OnStage) -> None:
    started = monotonic()
    await on_stage(lease, Stage.CLAIMED, 0.0)
    async with runtime.database.transaction() as session:
        document = await access.get_document(session, lease.owner_id, lease.subject_id)
    with tempfile.TemporaryFile() as file:
        await _fetch_original(runtime, lease, file)
        pages = await _extract_pages(runtime, lease, file, document.media_type, on_stage)
    await on_stage(lease, Stage.CHUNKING, EXTRACTED)
    passages = await asyncio.to_thread(_split, pages, document.media_type)
    vectors = await _embed(runtime, lease, passages, on_stage)
    await _store(runtime, lease, pages, passages, vectors, on_stage)
    log.info(
        "document.ready",
        document_id=str(lease.subject_id),
        pages=len(pages),
        chunks=len(passages),
        seconds=round(monotonic() - started, 2),
    )


async def _fetch_original(runtime: Runtime, lease: Lease, file: BinaryIO) -> None:
    position = 0
    while True:
        async with runtime.database.transaction() as session:
            data = await contents.read_slice(session, lease.owner_id, lease.subject_id, position)
        if data is None:
            return
        await asyncio.to_thread(file.write, data)
        position += 1


async def _extract_pages(
    runtime: Runtime, lease: Lease, file: BinaryIO, media_type: str, on_stage: OnStage
) -> list[PageText]:
    settings = runtime.settings
    limits = Limits(
        seconds=settings.extract_timeout_seconds,
        memory_bytes=settings.extract_memory_bytes,
        pages=settings.max_pages,
        characters=settings.max_text_characters,
    )
    await on_stage(lease, Stage.EXTRACTING, 0.0)
    pages: list[PageText] = []
    start = 0
    async with aclosing(extract(file, media_type, limits)) as extracted:
        async for page in extracted:
            pages.append(PageText(number=len(pages) + 1, start=start, text=page.text))
            start += len(page.text)
            await on_stage(lease, Stage.EXTRACTING, EXTRACTED * len(pages) / page.pages)
    return pages


def _split(pages: list[PageText], media_type: str) -> list[TextChunk]:
    passages = [passage for page in pages for passage in split_page(page, media_type)]
    if not passages:
        message = "The file contains no text; perhaps it is a scan. Run text recognition (OCR) and upload the result."
        raise IngestionError(FailureCode.NO_TEXT, message)
    return passages


async def _embed(runtime: Runtime, lease: Lease, passages: list[TextChunk], on_stage: OnStage) -> np.ndarray:
    vectors: list[np.ndarray] = []
    for first in range(0, len(passages), EMBED_AT_ONCE):
        await on_stage(lease, Stage.EMBEDDING, CHUNKED + (EMBEDDED - CHUNKED) * first / len(passages))
        batch = passages[first : first + EMBED_AT_ONCE]
        vectors.append(await runtime.encoder.encode([passage.text for passage in batch]))
    return np.concatenate(vectors)


async def _store(
    runtime: Runtime,
    lease: Lease,
    pages: list[PageText],
    passages: list[TextChunk],
    vectors: np.ndarray,
    on_stage: OnStage,
) -> None:
    await on_stage(lease, Stage.STORING, EMBEDDED)
    outcome = queue.Outcome(
        pages=len(pages),
        pages_with_text=sum(bool(page.text.strip()) for page in pages),
        chunks=len(passages),
    )
    async with runtime.database.transaction() as session:
        await queue.complete(session, lease)
        await contents.replace_text(session, lease.owner_id, lease.subject_id, pages)
        await chunks.replace(session, lease, passages, vectors, runtime.encoder.model_name)
        await queue.mark_ready(session, lease, outcome)
        await on_stage(lease, Stage.FINISHING, EMBEDDED)
    await on_stage(lease, Stage.STORED, 1.0)


async def _end_failed(runtime: Runtime, lease: Lease, error: IngestionError) -> None:
    may_pass = error.failure in (FailureCode.EMBEDDING_FAILED, FailureCode.WORKER_LOST)
    try:
        async with runtime.database.transaction() as session:
            tries_again = may_pass and await queue.retry_or_fail(session, lease, error)
            if not may_pass:
                await queue.fail(session, lease, error)
    except LeaseLost:
        log.info("ingestion.lease_lost", document_id=str(lease.subject_id))
    except DatabaseUnavailable:
        await _give_back(runtime, lease)
    else:
        log.info("document.failed", document_id=str(lease.subject_id), code=error.code, tries_again=tries_again)


async def _give_back(runtime: Runtime, lease: Lease) -> None:
    """Return the job and its attempt, as soon as the database answers."""
    deadline = monotonic() + RETURN_SECONDS
    while monotonic() < deadline:
        try:
            async with runtime.database.transaction() as session:
                await queue.give_back(session, lease)
        except DatabaseUnavailable:
            await asyncio.sleep(1.0)
        except SluiceError:
            return
        else:
            log.info("ingestion.given_back", document_id=str(lease.subject_id))
            return
