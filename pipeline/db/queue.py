"""The queue: jobs, leases and `documents.status`, which nobody else writes.

Locks are always taken in the order job, then document. Time is the database's (`clock_timestamp()`), so the
clocks of the workers do not matter. Every write of a worker is guarded by its lease token.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import Document, Job, JobKind
from pipeline.errors import FailureCode, IngestionError, LeaseLost
from pipeline.types import Lease, Status

CHANGES_CHANNEL = "sluice_changes"
"""NOTIFY channel; the payload is the id of the document that changed."""

SUSPECT_CRASHES = 2
"""After so many crashes a job runs alone, before it is blamed for the next one."""
MAX_CRASHES = 3
MAX_FAILURES = 3
RETRY_DELAYS = (timedelta(seconds=2), timedelta(seconds=10))
"""Pause after the first and the second failure; the third one is final."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished ingestion found."""

    pages: int
    pages_with_text: int
    chunks: int


async def enqueue(session: AsyncSession, owner_id: UUID, subject_id: UUID) -> None:
    """Put a document into the queue, in the transaction that creates or resets it.

    Turns are start-time fair queueing (Goyal, Vin and Cheng 1996): a job starts behind its owner's jobs, and
    no earlier than what is being served now. So an owner's n-th waiting job goes before anybody's n+1-th.
    """
    behind_own = select(func.max(Job.turn) + 1).where(Job.owner_id == owner_id).scalar_subquery()
    served_now = select(func.max(Job.turn)).where(Job.lease_token.is_not(None)).scalar_subquery()
    served_next = select(func.min(Job.turn)).where(Job.lease_token.is_(None)).scalar_subquery()
    turn = func.greatest(behind_own, func.coalesce(served_now, served_next, 0))
    await session.execute(
        insert(Job).values(owner_id=owner_id, kind=JobKind.DOCUMENT, subject_id=subject_id, turn=turn)
    )
    await _announce(session, subject_id)


async def requeue(session: AsyncSession, owner_id: UUID, subject_id: UUID) -> bool:
    """Put a failed document into the queue again; False where it is not failed."""
    reset = await _set_document(
        session,
        owner_id,
        subject_id,
        Document.status == Status.FAILED,
        status=Status.PENDING,
        error_code=None,
        error_message=None,
        progress=0.0,
        attempts=0,
    )
    if reset:
        await enqueue(session, owner_id, subject_id)
    return reset


async def discard(session: AsyncSession, owner_id: UUID, subject_id: UUID) -> None:
    """Take the job of a document that is being deleted away, from its worker too."""
    await session.execute(delete(Job).where(Job.owner_id == owner_id, Job.subject_id == subject_id))
    await _announce(session, subject_id)


async def claim(session: AsyncSession, lease_seconds: float, *, alone: bool) -> Lease | None:
    """Take the next job under a fresh lease; None where nothing waits.

    `alone` says that this worker does nothing else: only then it takes jobs that brought workers down before.
    """
    candidate = (
        select(Job.owner_id, Job.kind, Job.subject_id)
        .where(
            Job.lease_token.is_(None),
            Job.available_at <= func.clock_timestamp(),
            literal(alone) | (Job.crashes < SUSPECT_CRASHES),
        )
        .order_by(Job.turn, Job.queued_at)
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
            .returning(Job.owner_id, Job.subject_id, Job.kind, Job.failures, Job.crashes)
        )
    ).one_or_none()
    if claimed is None:
        return None
    await _set_document(
        session,
        claimed.owner_id,
        claimed.subject_id,
        status=Status.PROCESSING,
        attempts=Document.attempts + 1,
        progress=0.0,
    )
    return Lease(
        owner_id=claimed.owner_id,
        subject_id=claimed.subject_id,
        kind=claimed.kind,
        token=token,
        failures=claimed.failures,
        is_suspect=claimed.crashes >= SUSPECT_CRASHES,
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
    """Tell how far the work is, 0 to 1."""
    held = select(Job.subject_id).where(_is_held(lease)).exists()
    await _set_document(session, lease.owner_id, lease.subject_id, held, progress=progress)


async def complete(session: AsyncSession, lease: Lease) -> None:
    """First statement of every transaction that ends a job: the job goes, if it is still ours.

    Raises LeaseLost where it is not; the transaction must then be rolled back.
    """
    gone = await session.execute(delete(Job).where(_is_held(lease)).returning(Job.subject_id))
    if gone.one_or_none() is None:
        raise LeaseLost


async def mark_ready(session: AsyncSession, lease: Lease, outcome: Outcome) -> None:
    """The document is searchable; stands in the transaction that stores its chunks, after `complete`."""
    await _set_document(
        session,
        lease.owner_id,
        lease.subject_id,
        status=Status.READY,
        progress=1.0,
        pages=outcome.pages,
        pages_with_text=outcome.pages_with_text,
        chunks=outcome.chunks,
        ingested_at=func.clock_timestamp(),
    )


async def fail(session: AsyncSession, lease: Lease, error: IngestionError) -> None:
    """The document cannot be ingested.

    Raises LeaseLost.
    """
    await complete(session, lease)
    await _mark_failed(session, lease.owner_id, lease.subject_id, error)


async def retry_or_fail(session: AsyncSession, lease: Lease, error: IngestionError) -> bool:
    """After an error that may pass: try later, or fail where it was the last try; tells whether it tries.

    Raises LeaseLost.
    """
    failures = lease.failures + 1
    if failures >= MAX_FAILURES:
        await fail(session, lease, error)
        return False
    await _release(
        session,
        lease,
        failures=failures,
        available_at=func.clock_timestamp() + RETRY_DELAYS[failures - 1],
    )
    await _mark_pending(session, lease.owner_id, lease.subject_id)
    return True


async def give_back(session: AsyncSession, lease: Lease) -> None:
    """Release a job without blame, as when the worker stops; the attempt does not count.

    Raises LeaseLost.
    """
    await _release(session, lease)
    await _mark_pending(session, lease.owner_id, lease.subject_id, attempts=Document.attempts - 1)


async def sweep(session: AsyncSession, lease_seconds: float) -> int:
    """Free the jobs whose worker went silent, or fail those that were lost too often; returns how many.

    Looks at leases, never at age. After a start of PostgreSQL it waits for one lease: nobody could send
    heartbeats while it was down.
    """
    server_is_settled = func.pg_postmaster_start_time() < func.clock_timestamp() - timedelta(seconds=lease_seconds)
    expired = await session.scalars(
        select(Job)
        .where(Job.lease_until < func.clock_timestamp(), server_is_settled)
        .with_for_update(skip_locked=True)
        .limit(100)
    )
    swept = 0
    for job in expired.all():
        swept += 1
        crashes = job.crashes + 1
        this_job = and_(Job.owner_id == job.owner_id, Job.kind == job.kind, Job.subject_id == job.subject_id)
        if crashes >= MAX_CRASHES:
            await session.execute(delete(Job).where(this_job))
            message = f"The worker was lost {crashes} times while it read this file. Retry, or report the file."
            await _mark_failed(session, job.owner_id, job.subject_id, IngestionError(FailureCode.WORKER_LOST, message))
            continue
        await session.execute(update(Job).where(this_job).values(lease_token=None, lease_until=None, crashes=crashes))
        await _mark_pending(session, job.owner_id, job.subject_id)
    return swept


async def find_positions(session: AsyncSession, subject_ids: Collection[UUID]) -> dict[UUID, int]:
    """Places in the queue, from 1, of those documents that wait."""
    if not subject_ids:
        return {}
    place = func.row_number().over(order_by=(Job.turn, Job.queued_at)).label("place")
    waiting = select(Job.subject_id, place).where(Job.lease_token.is_(None)).subquery()
    rows = await session.execute(
        select(waiting.c.subject_id, waiting.c.place).where(waiting.c.subject_id.in_(subject_ids))
    )
    return {row.subject_id: row.place for row in rows}


def _lease_end(seconds: float) -> ColumnElement[Any]:
    return func.clock_timestamp() + timedelta(seconds=seconds)


def _is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        Job.owner_id == lease.owner_id,
        Job.kind == lease.kind,
        Job.subject_id == lease.subject_id,
        Job.lease_token == lease.token,
    )


async def _release(session: AsyncSession, lease: Lease, **values: Any) -> None:
    released = await session.execute(
        update(Job)
        .where(_is_held(lease))
        .values(lease_token=None, lease_until=None, **values)
        .returning(Job.subject_id)
    )
    if released.one_or_none() is None:
        raise LeaseLost


async def _mark_pending(session: AsyncSession, owner_id: UUID, subject_id: UUID, **values: Any) -> None:
    await _set_document(session, owner_id, subject_id, status=Status.PENDING, progress=0.0, **values)


async def _mark_failed(session: AsyncSession, owner_id: UUID, subject_id: UUID, error: IngestionError) -> None:
    await _set_document(
        session,
        owner_id,
        subject_id,
        status=Status.FAILED,
        error_code=error.code,
        error_message=error.message,
    )


async def _set_document(
    session: AsyncSession,
    owner_id: UUID,
    document_id: UUID,
    *conditions: ColumnElement[bool],
    **values: Any,
) -> bool:
    changed = await session.execute(
        update(Document)
        .where(Document.owner_id == owner_id, Document.id == document_id, *conditions)
        .values(updated_at=func.clock_timestamp(), **values)
        .returning(Document.id)
    )
    if changed.one_or_none() is None:
        return False
    await _announce(session, document_id)
    return True


async def _announce(session: AsyncSession, subject_id: UUID) -> None:
    """Tell the API processes; PostgreSQL delivers it when, and only if, the transaction commits."""
    await session.execute(select(func.pg_notify(CHANGES_CHANNEL, str(subject_id))))
