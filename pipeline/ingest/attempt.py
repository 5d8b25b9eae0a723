"""One ingestion, from the claimed job to `ready` or `failed`: the steps and their one boundary."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from time import monotonic
from typing import BinaryIO

import numpy as np

from pipeline import metrics
from pipeline.db import access, chunks, contents, embedding_models, queue
from pipeline.embedding.encoder import Encoder
from pipeline.errors import (
    DatabaseUnavailable,
    FailureCode,
    IngestionError,
    LeaseLost,
    ModelUnavailable,
    NotFound,
    SluiceError,
    StorageFull,
    translate_full_disk,
)
from pipeline.ingest.heartbeat import HeldLease
from pipeline.logs import get_logger
from pipeline.runtime import Runtime
from pipeline.sandbox.pool import make_limits
from pipeline.stages.chunk import split_page
from pipeline.stages.repair import repair
from pipeline.types import (
    Document,
    JobKind,
    Lease,
    Note,
    OnStage,
    PageText,
    Stage,
    SubjectKind,
    TextChunk,
)

EMBED_AT_ONCE = 32
GIVE_WAY_AFTER = 64
"""After so many passages background work lets go of its job: somebody may wait for the worker by now."""
REPORT_SECONDS = 0.5
OUTAGE_SECONDS = 60.0
"""So long we try to give a job back while the database is away; then its lease runs out anyway."""
FULL_DISK_PAUSE = timedelta(seconds=15)
"""Before a job that found no room is tried again."""
MODEL_PAUSE = timedelta(seconds=1)
"""Before a job that had the wrong model is tried again: this process may have to notice."""
STOP_SECONDS = 2.0
"""How long a worker that is stopping tries to give a job back: it must be gone soon."""

EXTRACTED, EMBEDDED = 0.4, 0.95
"""Progress when all pages are read, and when all passages are embedded."""

log = get_logger()


class StageReporter:
    """The `on_stage` of real workers: keeps the lease, reports progress twice a second, lets tests interfere."""

    def __init__(self, runtime: Runtime, held: HeldLease, fault: OnStage | None) -> None:
        self._runtime = runtime
        self._held = held
        self._fault = fault
        self._reported_at = self._progress = 0.0
        self._stage = Stage.CLAIMED
        self._entered_at = monotonic()
        self._seconds: dict[Stage, float] = {}

    async def __call__(self, lease: Lease, stage: Stage, progress: float) -> None:
        """Note that `stage` is reached.

        Raises LeaseLost where somebody else has the job.
        """
        self._held.touch()
        self._time(lease, stage)
        if self._fault:
            await self._fault(lease, stage, progress)
        inside_transaction = stage in (Stage.STORING, Stage.FINISHING, Stage.STORED)
        if inside_transaction or monotonic() < self._reported_at + REPORT_SECONDS:
            return
        self._reported_at = monotonic()
        self._progress = max(self._progress, progress)  # pages are read and embedded at the same time
        async with self._runtime.database.transaction(lease.subject.owner_id) as session:
            await queue.report_progress(session, lease, self._progress)

    def _time(self, lease: Lease, stage: Stage) -> None:
        """Add up the time of each stage; stages overlap, and time counts for the one that began last."""
        now = monotonic()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._entered_at
        self._stage, self._entered_at = stage, now
        if stage == Stage.STORED:
            for done, seconds in self._seconds.items():
                metrics.STAGE_SECONDS.labels(lease.kind, done).observe(seconds)


async def ingest(runtime: Runtime, lease: Lease, on_stage: OnStage) -> None:
    """Do a claimed job to its end; whatever happens, the document does not stay `processing`.

    Cancelling it gives the job back.
    """
    try:
        await _ingest(runtime, lease, on_stage)
    except (LeaseLost, NotFound):
        log.info("ingestion.lease_lost", **_name(lease))
    except IngestionError as error:
        await _end_failed(runtime, lease, error)
    except DatabaseUnavailable as error:
        await _give_back_after(runtime, lease, error)
    except ModelUnavailable:
        # Another model has taken over: what was done is of no use.
        log.info("ingestion.model_replaced", **_name(lease))
        await _give_back(runtime, lease, OUTAGE_SECONDS, MODEL_PAUSE)
    except asyncio.CancelledError:
        await asyncio.shield(_give_back(runtime, lease, STOP_SECONDS))
        raise
    except Exception:
        # The boundary of one ingestion: an error that nobody foresaw is this document's, never the worker's.
        log.exception("ingestion.crashed", **_name(lease))
        message = "The worker failed on this file. Retry; if it fails again, report it."
        await _end_failed(runtime, lease, IngestionError(FailureCode.WORKER_LOST, message))


@dataclass
class Content:
    """What there is to store: passages with their vectors, and of a document the text of its pages."""

    model: str
    """What made the vectors."""
    pages: list[PageText] = field(default_factory=list)
    passages: list[TextChunk] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """What is embedded and indexed of each."""
    vectors: list[np.ndarray] = field(default_factory=list)
    reused: int = 0
    """How many of the vectors the version before had."""


@dataclass(frozen=True)
class ReadPage:
    """A page, and the share of the file (0 to 1) that is read with it."""

    page: PageText
    share: float


PageQueue = asyncio.Queue[ReadPage | None]
"""Pages on their way from the reader to the model, None behind the last."""


async def _ingest(runtime: Runtime, lease: Lease, on_stage: OnStage) -> None:
    started = monotonic()
    await on_stage(lease, Stage.CLAIMED, 0.0)
    match lease.kind:
        case JobKind.DOCUMENT:
            content = await _read_document(runtime, lease, on_stage)
        case JobKind.NOTE:
            content = await _read_note(runtime, lease, on_stage)
        case JobKind.DOCUMENT_VECTORS | JobKind.NOTE_VECTORS:
            await _add_next_vectors(runtime, lease, on_stage)
            return
    if not content.passages:
        message = "The file contains no text; perhaps it is a scan. Run text recognition (OCR) and upload the result."
        raise IngestionError(FailureCode.NO_TEXT, message)
    await _store(runtime, lease, content, on_stage)
    metrics.INGESTIONS.labels(lease.kind, "ready").inc()
    log.info(
        "ingestion.ready",
        **_name(lease),
        pages=len(content.pages),
        chunks=len(content.passages),
        reused=content.reused,
        seconds=round(monotonic() - started, 2),
    )


async def _read_document(runtime: Runtime, lease: Lease, on_stage: OnStage) -> Content:
    subject, encoder = lease.subject, runtime.encoder
    async with runtime.database.transaction(subject.owner_id) as session:
        document = await access.get_document(session, subject.owner_id, subject.id)
        known = await chunks.find_vectors(session, subject, encoder.model_name)
    pages = PageQueue()
    with translate_full_disk(), tempfile.TemporaryFile() as file:
        await _fetch_original(runtime, document, lease, file)
        # The first passages are embedded while the last pages are still being read.
        reading = asyncio.create_task(_extract_pages(runtime, lease, file, document.media_type, pages, on_stage))
        try:
            content = await _embed(encoder, lease, pages, known, on_stage)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    return content


async def _read_note(runtime: Runtime, lease: Lease, on_stage: OnStage) -> Content:
    subject, encoder = lease.subject, runtime.encoder
    async with runtime.database.transaction(subject.owner_id) as session:
        note = await access.get_note(session, subject.owner_id, subject.id)
        known = await chunks.find_vectors(session, subject, encoder.model_name)
    pages = PageQueue()
    pages.put_nowait(ReadPage(PageText(number=1, start=0, sections=[note.body]), share=1.0))
    pages.put_nowait(None)
    return await _embed(encoder, lease, pages, known, on_stage, heading=_head(note))


def _head(note: Note) -> str:
    """What is embedded with every passage of a note."""
    return f"{note.title}\n\n"


async def _fetch_original(runtime: Runtime, document: Document, lease: Lease, file: BinaryIO) -> None:
    subject, sha256 = lease.subject, bytes.fromhex(document.sha256)
    fetched = position = 0
    while fetched < document.size_bytes:
        async with runtime.database.transaction(subject.owner_id) as session:
            data = await contents.read_slice(session, subject.owner_id, subject.id, position, sha256)
        if data is None:
            raise LeaseLost  # a new version or a delete took the job, and the rest of these bytes
        await asyncio.to_thread(file.write, data)
        fetched += len(data)
        position += 1


async def _extract_pages(
    runtime: Runtime, lease: Lease, file: BinaryIO, media_type: str, pages: PageQueue, on_stage: OnStage
) -> None:
    limits = make_limits(runtime.settings)
    number = start = 0
    try:
        await on_stage(lease, Stage.EXTRACTING, 0.0)
        async with aclosing(runtime.sandbox.extract(file, media_type, limits)) as extracted:
            async for page in extracted:
                number += 1
                share = number / page.pages
                pages.put_nowait(ReadPage(PageText(number=number, start=start, sections=page.sections), share))
                start += len(page.text)
                await on_stage(lease, Stage.EXTRACTING, EXTRACTED * share)
    finally:
        pages.put_nowait(None)


async def _embed(
    encoder: Encoder,
    lease: Lease,
    pages: PageQueue,
    known: Mapping[bytes, np.ndarray],
    on_stage: OnStage,
    *,
    heading: str = "",
) -> Content:
    """Cut pages into passages and embed these, 32 at once; `heading` is embedded with every passage.

    `known` are vectors of the version before, by the fingerprints of their texts.
    """
    content = Content(encoder.model_name)
    embedded, share = 0, 0.0
    is_complete = False
    while not is_complete:
        while not is_complete and len(content.passages) < embedded + EMBED_AT_ONCE:
            arrived, is_complete = await _take(pages)
            if not arrived:
                break
            share = arrived[-1].share
            await on_stage(lease, Stage.CHUNKING, EXTRACTED * share)
            content.pages += [read.page for read in arrived]
            passages, texts = await asyncio.to_thread(_split, [read.page for read in arrived], heading)
            content.passages += passages
            content.texts += texts
        while len(content.passages) >= embedded + (1 if is_complete else EMBED_AT_ONCE):
            done = EXTRACTED + (EMBEDDED - EXTRACTED) * embedded / len(content.passages)
            await on_stage(lease, Stage.EMBEDDING, done * share)
            texts = content.texts[embedded : embedded + EMBED_AT_ONCE]
            await _add_vectors(encoder, content, texts, known)
            embedded += len(texts)
    return content


async def _add_vectors(
    encoder: Encoder, content: Content, texts: Sequence[str], known: Mapping[bytes, np.ndarray]
) -> None:
    """Add the vectors of the next texts; only what is not known goes to the model."""
    fingerprints = [chunks.fingerprint(text) for text in texts]
    unknown = [text for text, mark in zip(texts, fingerprints, strict=True) if mark not in known]
    made = iter(await encoder.encode(unknown) if unknown else ())
    content.vectors += [known[mark] if mark in known else next(made) for mark in fingerprints]
    content.reused += len(texts) - len(unknown)


async def _take(pages: PageQueue) -> tuple[list[ReadPage], bool]:
    """The pages that are there, after a wait for the first, and whether they are the last."""
    taken = [await pages.get()]
    while not pages.empty():
        taken.append(pages.get_nowait())
    arrived = [page for page in taken if page is not None]
    return arrived, len(arrived) < len(taken)


def _split(pages: list[PageText], heading: str) -> tuple[list[TextChunk], list[str]]:
    """Passages, and what is embedded and indexed of each."""
    passages = [passage for page in pages for passage in split_page(page)]
    return passages, [heading + repair(passage.text) for passage in passages]


async def _add_next_vectors(runtime: Runtime, lease: Lease, on_stage: OnStage) -> None:
    """Embed with the model that takes over what is searchable already, a piece, and give way.

    What is new or changed by then is left to the command that waits for the vectors, and looks for what lacks them.
    """
    subject, encoder = lease.subject, runtime.encoders.next
    if encoder is None:
        raise ModelUnavailable("There is no model that takes over.")
    async with runtime.database.transaction(subject.owner_id) as session:
        stored = await chunks.find_lacking(session, subject, encoder.model_name, GIVE_WAY_AFTER)
        has_title = stored and subject.kind == SubjectKind.NOTE
        heading = _head(await access.get_note(session, subject.owner_id, subject.id)) if has_title else ""
    texts = await asyncio.to_thread(lambda: [heading + repair(chunk.text) for chunk in stored])
    vectors = await _embed_further(encoder, lease, texts, on_stage)
    await on_stage(lease, Stage.STORING, EMBEDDED)
    async with runtime.database.transaction(subject.owner_id) as session:
        models = await embedding_models.hold(session)
        if models.next != encoder.model_name:
            raise ModelUnavailable("Another model takes over.")
        if len(stored) < GIVE_WAY_AFTER:
            await queue.complete(session, lease)
        else:
            await queue.give_back(session, lease)
        await chunks.add_vectors(session, subject, stored, texts, vectors, encoder.model_name)
        await on_stage(lease, Stage.FINISHING, EMBEDDED)
    await on_stage(lease, Stage.STORED, 1.0)


async def _embed_with_next(
    runtime: Runtime, lease: Lease, texts: Sequence[str], on_stage: OnStage
) -> dict[str, list[np.ndarray]]:
    """Vectors of the model that takes over, if there is one: so what lacks them only ever becomes less."""
    encoder = runtime.encoders.next
    if not (encoder and encoder.is_ready):
        return {}
    try:
        return {encoder.model_name: await _embed_further(encoder, lease, texts, on_stage)}
    except (IngestionError, ModelUnavailable):
        return {}  # no reason to fail here: the command that waits for the vectors will see that they are not there


async def _embed_further(encoder: Encoder, lease: Lease, texts: Sequence[str], on_stage: OnStage) -> list[np.ndarray]:
    """Vectors of a further model, beside those that answer."""
    vectors: list[np.ndarray] = []
    while len(vectors) < len(texts):
        await on_stage(lease, Stage.EMBEDDING, EMBEDDED)
        vectors += list(await encoder.encode(texts[len(vectors) : len(vectors) + EMBED_AT_ONCE]))
    return vectors


async def _store(runtime: Runtime, lease: Lease, content: Content, on_stage: OnStage) -> None:
    subject = lease.subject
    vectors = {content.model: content.vectors, **await _embed_with_next(runtime, lease, content.texts, on_stage)}
    await on_stage(lease, Stage.STORING, EMBEDDED)
    found = {"chunks": len(content.passages)}
    async with runtime.database.transaction(subject.owner_id) as session:
        models = await embedding_models.hold(session)
        if models.active not in vectors:
            raise ModelUnavailable("Another model has taken over.")
        await queue.complete(session, lease)
        if subject.kind == SubjectKind.DOCUMENT:
            await contents.replace_text(session, subject.owner_id, subject.id, content.pages)
            found["pages"] = len(content.pages)
            found["pages_with_text"] = sum(bool(page.text.strip()) for page in content.pages)
            found["chunks_reused"] = content.reused
        await chunks.replace(
            session,
            subject,
            content.passages,
            content.texts,
            {name: made for name, made in vectors.items() if name in (models.active, models.next)},
            configuration=runtime.settings.text_search_config,
        )
        await queue.mark_ready(session, lease, **found)
        await on_stage(lease, Stage.FINISHING, EMBEDDED)
    await on_stage(lease, Stage.STORED, 1.0)


async def _end_failed(runtime: Runtime, lease: Lease, error: IngestionError) -> None:
    may_pass = error.failure in (FailureCode.EMBEDDING_FAILED, FailureCode.WORKER_LOST)
    try:
        async with runtime.database.transaction(lease.subject.owner_id) as session:
            tries_again = may_pass and await queue.retry_or_fail(session, lease, error)
            if not may_pass:
                await queue.fail(session, lease, error)
    except LeaseLost:
        log.info("ingestion.lease_lost", **_name(lease))
    except DatabaseUnavailable as absence:
        await _give_back_after(runtime, lease, absence)
    else:
        metrics.INGESTIONS.labels(lease.kind, error.code).inc()
        log.info("ingestion.failed", **_name(lease), code=error.code, tries_again=tries_again)


def _name(lease: Lease) -> dict[str, str]:
    """How log lines name what is ingested."""
    return {"kind": lease.kind, "subject_id": str(lease.subject.id)}


async def _give_back_after(runtime: Runtime, lease: Lease, error: DatabaseUnavailable) -> None:
    log.warning("ingestion.interrupted", **_name(lease), code=error.code, cause=repr(error.__cause__))
    if isinstance(error, StorageFull):
        # Even this little may find no room: then there is nothing better to do than to wait until there is some.
        await _give_back(runtime, lease, inf, FULL_DISK_PAUSE)
    else:
        await _give_back(runtime, lease, OUTAGE_SECONDS)


async def _give_back(runtime: Runtime, lease: Lease, seconds: float, pause: timedelta = timedelta()) -> None:
    """Return the job and its attempt, as soon as the database answers, if it does so in time."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        try:
            async with runtime.database.transaction(lease.subject.owner_id) as session:
                await queue.give_back(session, lease, pause)
        except DatabaseUnavailable:
            await asyncio.sleep(1.0)
        except SluiceError:
            return
        else:
            log.info("ingestion.given_back", **_name(lease))
            return
