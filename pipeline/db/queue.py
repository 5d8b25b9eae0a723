"""The queue: jobs, leases and the status of documents and notes, which nobody else writes.

Locks are always taken in the order models (see `embedding_models`), turn (of users), job, then document or note.
Time is the database's (`clock_timestamp()`), so the clocks of the workers do not matter. Every write of a worker is
guarded by its lease token.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import BigInteger, ColumnElement, String, and_, delete, func, literal, not_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import chunks, notifications
from pipeline.db.models import Chunk, Document, Job, Note
from pipeline.db.session import act_for
from pipeline.errors import FailureCode, IngestionError, LeaseLost
from pipeline.types import JobKind, Lease, Status, Subject, SubjectKind

SUSPECT_CRASHES = 2
"""After so many crashes a job runs alone, before it is blamed for the next one."""
MAX_CRASHES = 3
SHORT_BYTES = 256 * 1024
"""Up to this size a document counts as short; every note does."""
MAX_FAILURES = 3
RETRY_DELAYS = (timedelta(seconds=2), timedelta(seconds=10))
"""Pause after the first and the second failure; the third one is final."""
BACKGROUND_START = 2**40
"""Turns from here on are of background work: it goes behind everything that somebody waits for."""


MODELS: dict[SubjectKind, type[Document] | type[Note]] = {SubjectKind.DOCUMENT: Document, SubjectKind.NOTE: Note}


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much of an owner waits or is in work: documents and notes, and the bytes of the documents."""

    count: int
    bytes: int


_IS_AWAITED = Job.virtual_start < BACKGROUND_START
_IS_STUCK = (Job.failures >= MAX_FAILURES) | (Job.crashes >= MAX_CRASHES)
"""Of background work; what somebody waits for is gone from the queue by then."""

_NEW = {"status": Status.PENDING, "error_code": None, "error_message": None, "progress": 0.0, "attempts": 0}


async def enqueue(session: AsyncSession, subject: Subject, size_bytes: int) -> None:
    """Put a document or note into the queue, in the transaction that creates or resets it; a note has size 0.

    Turns are start-time fair queueing (Goyal, Vin and Cheng 1996): a job starts behind its owner's jobs, and
    no earlier than what is being served now. So an owner's n-th waiting job goes before anybody's n+1-th.
    """
    behind_own = (
        select(func.max(Job.virtual_start) + 1).where(Job.owner_id == subject.owner_id, _IS_AWAITED).scalar_subquery()
    )
    served_now = select(func.max(Job.virtual_start)).where(Job.lease_token.is_not(None), _IS_AWAITED).scalar_subquery()
    served_next = select(func.min(Job.virtual_start)).where(Job.lease_token.is_(None), _IS_AWAITED).scalar_subquery()
    virtual_start = func.greatest(behind_own, func.coalesce(served_now, served_next, 0))
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    await session.execute(
        insert(Job).values(
            owner_id=subject.owner_id,
            kind=subject.kind,
            subject_id=subject.id,
            virtual_start=virtual_start,
            request_id=request_id,
            size_bytes=size_bytes,
        )
    )
    await notifications.announce(session, subject)


async def enqueue_vectors(session: AsyncSession, model: str) -> None:
    """Queue everybody's documents and notes that lack vectors of this model, behind what users wait for.

    Acts for nobody: for the owner of the tables alone. Owners take turns here, too.
    """
    for source, kind in ((Document, JobKind.DOCUMENT_VECTORS), (Note, JobKind.NOTE_VECTORS)):
        place = func.row_number().over(partition_by=source.owner_id, order_by=source.id)
        lacking = select(
            source.owner_id,
            literal(kind, String),
            source.id,
            place + literal(BACKGROUND_START, BigInteger),
            Document.size_bytes if source is Document else literal(0, BigInteger),
        ).where(chunks.count_embedded(source, model) < source.chunks)
        columns = ["owner_id", "kind", "subject_id", "turn", "size_bytes"]
        await session.execute(insert(Job).from_select(columns, lacking).on_conflict_do_nothing())


async def forget_stuck(session: AsyncSession) -> None:
    """Let background work that was given up be queued again."""
    await session.execute(delete(Job).where(_IS_STUCK))


async def count_background(session: AsyncSession) -> tuple[int, int]:
    """How many background jobs there are, and how many of them were given up."""
    row = await session.execute(
        select(func.count(), func.count().filter(_IS_STUCK)).where(Job.virtual_start >= BACKGROUND_START)
    )
    there, stuck = row.one()
    return there, stuck


async def requeue(session: AsyncSession, subject: Subject) -> bool:
    """Put a failed document into the queue again; False where it is not failed."""
    await lock_subject(session, subject)
    model = MODELS[subject.kind]
    reset = await _set(session, subject, model.status == Status.FAILED, **_NEW)
    if reset:
        await enqueue(session, subject, await _find_size(session, subject))
    return reset


async def renew(session: AsyncSession, subject: Subject, size_bytes: int) -> None:
    """Queue the new content of a document or note whose old job is discarded.

    The chunks of the old version stay until the new version is `ready`.
    """
    await _set(session, subject, **_NEW)
    await enqueue(session, subject, size_bytes)


async def discard(session: AsyncSession, subject: Subject) -> None:
    """Take the job of something that is being deleted or changed away, from its worker too."""
    await lock_subject(session, subject)
    await session.execute(delete(Job).where(_is_about(subject)))
    await notifications.announce(session, subject)


async def discard_all(session: AsyncSession, owner_id: UUID) -> None:
    """Forget all jobs of an owner who is gone."""
    await session.execute(delete(Job).where(Job.owner_id == owner_id))


async def lock_subject(session: AsyncSession, subject: Subject) -> None:
    """What users do to a document or note happens one after the other: wait for the transaction before this one.

    No row could be the lock: the one of the job comes first in the order of locks, and may not be there.
    """
    key = int.from_bytes(subject.id.bytes[-8:], signed=True)  # of a UUIDv7 the last 62 bits are random
    await session.execute(select(func.pg_advisory_xact_lock(key)))


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the queue holds of all owners, background work left out; ages in seconds, 0 where there is nothing."""

    waiting: int
    oldest_seconds: float
    """Since the oldest of them could have been claimed."""
    in_work: int
    overdue_seconds: float
    """Since the first lease ran out that nobody has taken."""


async def measure_backlog(session: AsyncSession) -> Backlog:
    """Look at the whole queue."""
    now = func.clock_timestamp()
    is_waiting = Job.lease_token.is_(None)
    row = await session.execute(
        select(
            func.count().filter(is_waiting),
            func.extract("epoch", now - func.min(Job.available_at).filter(is_waiting)),
            func.count().filter(~is_waiting),
            func.extract("epoch", now - func.min(Job.lease_until)),
        ).where(_IS_AWAITED)
    )
    waiting, oldest_seconds, in_work, overdue_seconds = row.one()
    return Backlog(waiting, max(0.0, float(oldest_seconds or 0)), in_work, max(0.0, float(overdue_seconds or 0)))


async def measure_waiting(session: AsyncSession, owner_id: UUID, besides: UUID | None = None) -> Waiting:
    """Tell how much of the owner waits or is in work, `besides` a document that is about to be replaced."""
    query = select(func.count(), func.coalesce(func.sum(Job.size_bytes), 0)).where(
        Job.owner_id == owner_id, _IS_AWAITED, Job.subject_id.is_distinct_from(besides)
    )
    count, size_bytes = (await session.execute(query)).one()
    return Waiting(count, int(size_bytes))


async def claim(
    session: AsyncSession, lease_seconds: float, *, alone: bool, only_short: bool = False, background: bool = False
) -> Lease | None:
    """Take the next job under a fresh lease; None where nothing waits.

    `alone` says that this worker does nothing else: only then it takes jobs that brought workers down before.
    `only_short` passes over the long documents, which keep their place. With `background` it takes, where there is
    nothing else, what nobody waits for.
    """
    candidate = (
        select(Job.owner_id, Job.kind, Job.subject_id)
        .where(
            Job.lease_token.is_(None),
            Job.available_at <= func.clock_timestamp(),
            literal(alone) | (Job.crashes < SUSPECT_CRASHES),
            literal(not only_short) | (Job.size_bytes <= SHORT_BYTES),
            not_(_IS_STUCK) if background else _IS_AWAITED,
        )
        .order_by(Job.virtual_start, Job.queued_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("candidate")
    )
    token = uuid4()
    claimed = (
        await session.execute(
            update(Job)
            .where(
                Job.owner_id == candidate.c.owner_id,
                Job.kind == candidate.c.kind,
                Job.subject_id == candidate.c.subject_id,
            )
            .values(lease_token=token, lease_until=_lease_end(lease_seconds))
            .returning(Job.owner_id, Job.subject_id, Job.kind, Job.failures, Job.crashes, Job.request_id)
        )
    ).one_or_none()
    if claimed is None:
        return None
    kind = JobKind(claimed.kind)
    subject = Subject(claimed.owner_id, kind.subject, claimed.subject_id)
    await act_for(session, subject.owner_id)
    if not kind.is_background:
        model = MODELS[subject.kind]
        await _set(session, subject, status=Status.PROCESSING, attempts=model.attempts + 1, progress=0.0)
    return Lease(
        kind=kind,
        subject=subject,
        token=token,
        failures=claimed.failures,
        is_suspect=claimed.crashes >= SUSPECT_CRASHES,
        request_id=claimed.request_id,
    )


async def extend(session: AsyncSession, tokens: Collection[UUID], lease_seconds: float) -> set[UUID]:
    """Heartbeat: extend these leases; returns those that are still held."""
    held = await session.scalars(
        update(Job)
        .where(Job.lease_token.in_(tokens))
        .values(lease_until=_lease_end(lease_seconds))
        .returning(Job.lease_token)
    )
    return {token for token in held if token is not None}


async def report_progress(session: AsyncSession, lease: Lease, progress: float) -> None:
    """Tell how far the work is, 0 to 1; of background work nobody is told."""
    if lease.kind.is_background:
        return
    held = select(Job.subject_id).where(_is_held(lease)).exists()
    await _set(session, lease.subject, held, progress=progress)


async def complete(session: AsyncSession, lease: Lease) -> None:
    """First of every transaction that ends a job, but for a lock on the models: the job goes, if it is still ours.

    Raises LeaseLost where it is not; the transaction must then be rolled back.
    """
    gone = await session.execute(delete(Job).where(_is_held(lease)).returning(Job.subject_id))
    if gone.one_or_none() is None:
        raise LeaseLost


async def mark_ready(session: AsyncSession, lease: Lease, **found: int) -> None:
    """It is searchable; stands in the transaction that stores its chunks, after `complete`.

    `found` are columns with what the ingestion found: `chunks`, and of a document `chunks_reused`, `pages` and
    `pages_with_text`.
    """
    await _set(session, lease.subject, status=Status.READY, progress=1.0, ingested_at=func.clock_timestamp(), **found)


async def fail(session: AsyncSession, lease: Lease, error: IngestionError) -> None:
    """It cannot be ingested; the passages of an older version of a document stay, those of a note go.

    Raises LeaseLost.
    """
    await complete(session, lease)
    await _mark_failed(session, lease.subject, error)


async def retry_or_fail(session: AsyncSession, lease: Lease, error: IngestionError) -> bool:
    """After an error that may pass: try later, or fail where it was the last try; tells whether it tries.

    Background work that was tried for the last time stays in the queue, and nobody takes it. Raises LeaseLost.
    """
    failures = lease.failures + 1
    tries_again = failures < MAX_FAILURES
    if not (tries_again or lease.kind.is_background):
        await fail(session, lease, error)
        return False
    pause = RETRY_DELAYS[failures - 1] if tries_again else timedelta()
    await _release(session, lease, failures=failures, available_at=func.clock_timestamp() + pause)
    await _mark_pending(session, lease.kind, lease.subject)
    return tries_again


async def give_back(session: AsyncSession, lease: Lease, pause: timedelta = timedelta()) -> None:
    """Release a job without blame, as when the worker stops; the attempt does not count. It waits for `pause`.

    Raises LeaseLost.
    """
    await _release(session, lease, available_at=func.clock_timestamp() + pause)
    await _mark_pending(session, lease.kind, lease.subject, attempts=MODELS[lease.subject.kind].attempts - 1)


async def sweep(session: AsyncSession, lease_seconds: float) -> int:
    """Free the jobs whose worker went silent, or fail those that were lost too often; returns how many.

    Looks at leases, never at age. After a start of PostgreSQL it waits for one lease: nobody could send
    heartbeats while it was down. Who lost a job over that start is not to blame for it.
    """
    started, lease = func.pg_postmaster_start_time(), timedelta(seconds=lease_seconds)
    expired = await session.execute(
        select(Job, (Job.lease_until < started + lease).label("lost_over_start"))
        .where(Job.lease_until < func.clock_timestamp(), started < func.clock_timestamp() - lease)
        .with_for_update(skip_locked=True)
        .limit(100)
    )
    rows = expired.all()
    for job, lost_over_start in rows:
        if lost_over_start:
            await _take_without_blame(session, job)
        else:
            await _take_from_silent_worker(session, job)
    return len(rows)


async def _take_without_blame(session: AsyncSession, job: Job) -> None:
    kind = JobKind(job.kind)
    subject = Subject(job.owner_id, kind.subject, job.subject_id)
    await act_for(session, subject.owner_id)
    await session.execute(update(Job).where(_is(kind, subject)).values(lease_token=None, lease_until=None))
    await _mark_pending(session, kind, subject, attempts=MODELS[subject.kind].attempts - 1)


async def _take_from_silent_worker(session: AsyncSession, job: Job) -> None:
    kind = JobKind(job.kind)
    subject = Subject(job.owner_id, kind.subject, job.subject_id)
    crashes = job.crashes + 1
    await act_for(session, subject.owner_id)
    if crashes < MAX_CRASHES or kind.is_background:
        await session.execute(
            update(Job).where(_is(kind, subject)).values(lease_token=None, lease_until=None, crashes=crashes)
        )
        await _mark_pending(session, kind, subject)
        return
    await session.execute(delete(Job).where(_is(kind, subject)))
    message = f"The worker was lost {crashes} times while it read this. Retry, or report it."
    await _mark_failed(session, subject, IngestionError(FailureCode.WORKER_LOST, message))


async def find_positions(session: AsyncSession, subject_ids: Collection[UUID]) -> dict[UUID, int]:
    """Places in the queue, from 1, of those documents that wait."""
    if not subject_ids:
        return {}
    place = func.row_number().over(order_by=(Job.virtual_start, Job.queued_at)).label("place")
    waiting = select(Job.subject_id, place).where(Job.lease_token.is_(None), _IS_AWAITED).subquery()
    rows = await session.execute(
        select(waiting.c.subject_id, waiting.c.place).where(waiting.c.subject_id.in_(subject_ids))
    )
    return {row.subject_id: row.place for row in rows}


async def _find_size(session: AsyncSession, subject: Subject) -> int:
    if subject.kind != SubjectKind.DOCUMENT:
        return 0
    query = select(Document.size_bytes).where(Document.owner_id == subject.owner_id, Document.id == subject.id)
    return await session.scalar(query) or 0


def _lease_end(seconds: float) -> ColumnElement[Any]:
    return func.clock_timestamp() + timedelta(seconds=seconds)


def _is_about(subject: Subject) -> ColumnElement[bool]:
    kinds = [kind for kind in JobKind if kind.subject == subject.kind]
    return and_(Job.owner_id == subject.owner_id, Job.kind.in_(kinds), Job.subject_id == subject.id)


def _is(kind: JobKind, subject: Subject) -> ColumnElement[bool]:
    return and_(Job.owner_id == subject.owner_id, Job.kind == kind, Job.subject_id == subject.id)


def _is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(_is(lease.kind, lease.subject), Job.lease_token == lease.token)


async def _release(session: AsyncSession, lease: Lease, **values: Any) -> None:
    released = await session.execute(
        update(Job)
        .where(_is_held(lease))
        .values(lease_token=None, lease_until=None, **values)
        .returning(Job.subject_id)
    )
    if released.one_or_none() is None:
        raise LeaseLost


async def _mark_pending(session: AsyncSession, kind: JobKind, subject: Subject, **values: Any) -> None:
    if not kind.is_background:
        await _set(session, subject, status=Status.PENDING, progress=0.0, **values)


async def _mark_failed(session: AsyncSession, subject: Subject, error: IngestionError) -> None:
    left: dict[str, int] = {}
    if subject.kind == SubjectKind.NOTE:
        # They would be no slices of its body any more; a document keeps the text that its passages come from.
        await session.execute(delete(Chunk).where(Chunk.owner_id == subject.owner_id, Chunk.note_id == subject.id))
        left["chunks"] = 0
    await _set(session, subject, status=Status.FAILED, error_code=error.code, error_message=error.message, **left)


async def _set(session: AsyncSession, subject: Subject, *conditions: ColumnElement[bool], **values: Any) -> bool:
    model = MODELS[subject.kind]
    changed = await session.execute(
        update(model)
        .where(model.owner_id == subject.owner_id, model.id == subject.id, *conditions)
        .values(updated_at=func.clock_timestamp(), **values)
        .returning(model.id)
    )
    if changed.one_or_none() is None:
        return False
    await notifications.announce(session, subject)
    return True
