"""The queue: jobs, their leases, and the status of documents and notes. `deliveries` has the jobs that deliver events.

The life of a job:

- `enqueue` inserts it, in the transaction that creates or resets its document or note.
- `claim` leases the job with the lowest virtual start time to a worker.
- While the worker runs it, `extend` renews the lease (the heartbeat) and `report_progress` reports progress.
- `complete` deletes it in the transaction that stores the result. `fail` deletes it and sets the status `failed`.
- `retry_or_fail` and `give_back` return it to the queue, with and without counting the attempt.
- `take_back` returns it to the queue if its lease is lost, because the worker crashed or cannot reach the database.
- `discard` deletes it when a user deletes or changes its document or note. The worker then loses the lease.

No other module writes the status of documents and notes. Every write of a worker names its lease token, so a worker
that has lost its lease changes nothing.

The clock rule: no promise depends on the clock of a worker, or on steps of the database's clock.

- A lease is lost if a sweeper has seen it unchanged for the length of a lease, by its own monotonic clock (see
  `pipeline.ingest.sweeper`). Each heartbeat changes `lease_until`, which only the metrics compare with
  the time.
- A pause before a retry ends at `available_at`, by the database's clock. A time further away than LONGEST_PAUSE was
  stored before the clock stepped back, so the job is due.
- A lease from an earlier start of PostgreSQL is recognized by the start time stored with it, not by comparing times.

Transactions take their locks in this order, which prevents deadlocks:

1. the advisory locks on the embedding models (see `embedding_models`),
2. the rows of collections (see `collections.hold`), in transactions of users,
3. the advisory lock on an external id (see `access.lock_external_id`),
4. the advisory lock on a document or note (`lock_subject`), in transactions of users,
5. the row of the job,
6. the row of the document or note,
7. the rows of its memberships in collections,
8. the rows of webhooks, and then of the jobs that deliver their events (see `deliveries`),
9. the advisory lock on what an account stores (see `storage`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Interval,
    Row,
    ScalarSelect,
    String,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    delete,
    func,
    literal,
    not_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate

from pipeline.db import chunks, deliveries, notifications
from pipeline.db.claim_starts import ClaimStarts, Place, Wanted
from pipeline.db.crashes import MAX_CRASHES, MAX_REPEATS, SUSPECT_CRASHES, Crashes
from pipeline.db.models import DELIVERIES, Chunk, Document, Job, Note
from pipeline.db.session import act_for
from pipeline.errors import FailureCode, IngestionError, LeaseLost
from pipeline.types import Caller, JobKind, Lease, Status, Subject, SubjectKind, WebhookEvent

SUSPECT_PATIENCE = timedelta(seconds=10)
"""Time after which a waiting suspect keeps workers from claiming more, so that one of them is soon free to run it."""
SHORT_BYTES = 256 * 1024
"""Maximum size of a short document. Notes are always short."""
MAX_FAILURES = 3
"""Number of failures after which a job is given up."""
RETRY_DELAYS = (timedelta(seconds=2), timedelta(seconds=10))
"""Delays before the second and the third attempt. The third failure is final."""
LONGEST_PAUSE = timedelta(seconds=15)
"""Longest time for which a job is not claimed after an attempt."""
FRONT_JOBS = 10_000
"""Number of jobs whose positions event streams keep up to date."""
BACKGROUND_START = 2**40
"""First virtual start time of background jobs. All other jobs have lower ones and go first."""

AnyUpdate = ReturningUpdate[*tuple[Any, ...]]
MODELS: dict[SubjectKind, type[Document] | type[Note]] = {SubjectKind.DOCUMENT: Document, SubjectKind.NOTE: Note}
"""Mapped class of each kind of subject."""

_IS_FOREGROUND = Job.virtual_start < BACKGROUND_START
_IS_ABOUT_SUBJECT = Job.virtual_start < deliveries.FIRST_START
"""False for jobs that deliver events: see `deliveries`."""
_IS_WAITING = Job.lease_token.is_(None) & _IS_FOREGROUND
_IS_SUSPECT = Job.crashes >= SUSPECT_CRASHES
_IS_STUCK = (Job.failures >= MAX_FAILURES) | (Job.crashes >= MAX_CRASHES) | (Job.repeats >= MAX_REPEATS)
"""True for a background job that was given up. Other jobs are deleted when they reach a limit."""

_NEW = {"status": Status.PENDING, "error_code": None, "error_message": None, "progress": 0.0, "attempts": 0}
"""Column values that reset a document or note before it is ingested from the beginning."""


async def enqueue(session: AsyncSession, subject: Subject, size_bytes: int) -> None:
    """Queue a document or note, in the transaction that creates or resets it. The size of a note is 0.

    Virtual start times follow start-time fair queueing (Goyal, Vin and Cheng 1996). A job starts after its owner's
    other jobs, and not before the job that is being served now. So every owner's n-th waiting job is claimed before any
    owner's (n+1)-th.
    """
    values = {
        "owner": subject.owner_id,
        "kind": subject.kind,
        "subject": subject.id,
        "request": structlog.contextvars.get_contextvars().get("request_id"),
        "size": size_bytes,
    }
    await (await session.connection()).execute(_build_enqueue(), values)
    await notifications.announce(session, subject)


@cache
def _build_enqueue() -> Insert:
    """Build the statement once, because building takes longer than executing."""
    owner = bindparam("owner", type_=Uuid)
    after_own = select(func.max(Job.virtual_start) + 1).where(Job.owner_id == owner, _IS_FOREGROUND).scalar_subquery()
    served_now = _find_served_now()
    served_next = select(func.min(Job.virtual_start)).where(Job.lease_token.is_(None), _IS_FOREGROUND).scalar_subquery()
    return insert(Job).values(
        {
            Job.owner_id: owner,
            Job.kind: bindparam("kind", type_=String),
            Job.subject_id: bindparam("subject", type_=Uuid),
            Job.virtual_start: func.greatest(after_own, func.coalesce(served_now, served_next, 0)),
            Job.request_id: bindparam("request", type_=String),
            Job.size_bytes: bindparam("size", type_=BigInteger),
        }
    )


async def enqueue_vectors(session: AsyncSession, model: str) -> None:
    """Queue a background job for every document and note that lacks vectors of this model.

    Background jobs alternate between owners, too. Only the owner of the tables can call this, because it reads the
    rows of all users.
    """
    for source, kind in ((Document, JobKind.DOCUMENT_VECTORS), (Note, JobKind.NOTE_VECTORS)):
        number_within_owner = func.row_number().over(partition_by=source.owner_id, order_by=source.id)
        lacking = select(
            source.owner_id,
            literal(kind, String),
            source.id,
            number_within_owner + literal(BACKGROUND_START, BigInteger),
            Document.size_bytes if source is Document else literal(0, BigInteger),
        ).where(chunks.count_embedded(source, model) < source.chunks)
        columns = ["owner_id", "kind", "subject_id", "turn", "size_bytes"]
        await session.execute(insert(Job).from_select(columns, lacking).on_conflict_do_nothing())


async def requeue(session: AsyncSession, subject: Subject) -> bool:
    """Queue a failed document or note again. Return False if it is not failed."""
    await lock_subject(session, subject)
    model = MODELS[subject.kind]
    is_failed = await _set(session, subject, model.status == Status.FAILED, **_NEW) is not None
    if is_failed:
        await enqueue(session, subject, await _find_size(session, subject))
    return is_failed


async def renew(session: AsyncSession, subject: Subject, size_bytes: int) -> None:
    """Queue the new content of a document or note, after `discard` has deleted its old job.

    The chunks of the old version stay until the new version is ready.
    """
    await _set(session, subject, **_NEW)
    await enqueue(session, subject, size_bytes)


async def discard(session: AsyncSession, subject: Subject) -> None:
    """Delete all jobs of a document or note that is being deleted or changed.

    A worker that runs one of them loses its lease.
    """
    await lock_subject(session, subject)
    await session.execute(delete(Job).where(_is_about(subject)))
    await notifications.announce(session, subject)


async def touch(session: AsyncSession, subject: Subject) -> bool:
    """Announce a change to a document or note that is none of its content. Return False if there is no such row."""
    return await _set(session, subject) is not None


async def touch_all(
    session: AsyncSession, owner_id: UUID, kind: SubjectKind, subject_ids: Collection[UUID]
) -> list[UUID]:
    """Announce a change to documents or notes that is none of their content. Return those that exist, sorted."""
    model = MODELS[kind]
    owned = (model.owner_id == owner_id, model.id == any_(literal(list(subject_ids), ARRAY(Uuid))))
    # Sorted, so that transactions with the same documents do not wait for one another in a circle.
    locked = (
        await session.scalars(select(model.id).where(*owned).order_by(model.id).with_for_update(key_share=True))
    ).all()
    await session.execute(update(model).where(*owned).values(updated_at=func.clock_timestamp()))
    await notifications.announce_all(session, [Subject(owner_id, kind, subject_id) for subject_id in locked])
    return list(locked)


async def discard_all(session: AsyncSession, owner_id: UUID) -> None:
    """Delete all jobs of an account that is being deleted."""
    await session.execute(delete(Job).where(Job.owner_id == owner_id))


async def lock_subject(session: AsyncSession, subject: Subject) -> None:
    """Lock a document or note against changes by other transactions of users. Wait until the lock is free.

    An advisory lock, because no row is suitable: the row of the job comes first in the lock order, and may not exist.
    """
    key = int.from_bytes(subject.id.bytes[-8:], signed=True)  # the last 62 bits of a UUIDv7 are random
    await session.execute(select(func.pg_advisory_xact_lock(key)))


async def claim(
    session: AsyncSession,
    lease_seconds: float,
    *,
    alone: bool,
    only_short: bool = False,
    background: bool = False,
    guest_of: Collection[UUID] = (),
    starts: ClaimStarts | None = None,
) -> Lease | None:
    """Lease the next job to a worker. Return None if there is none.

    `alone` means that the worker runs no other job. Suspects are claimed only then. If a suspect has waited for
    SUSPECT_PATIENCE, a worker that is not alone claims nothing.
    `only_short` skips long documents, which keep their queue position. `background` includes background jobs, which
    come after all others. `guest_of` skips the jobs of these owners, and all that are not due before jobs which are
    being served. `starts` remembers where the next claim begins; without it, each begins at the first entry.
    """
    wanted = Wanted(alone, only_short, background, frozenset(guest_of))
    start = starts.find(wanted) if starts else None
    claimed = await _lease_first(session, lease_seconds, wanted, start) if start else None
    if claimed is None:
        start = None
        claimed = await _lease_first(session, lease_seconds, wanted, start)
    if claimed is None:
        return None
    if starts:
        starts.remember(wanted, Place(claimed.virtual_start, claimed.queued_at), start)
    kind = JobKind(claimed.kind)
    subject = Subject(claimed.owner_id, kind.subject, claimed.subject_id)
    await act_for(session, Caller(subject.owner_id))
    stored: int | None = None
    if not kind.is_background:
        begun = {"status": Status.PROCESSING, "attempts": MODELS[subject.kind].attempts + 1, "progress": 0.0}
        stored = await _set(session, subject, **begun)
    return Lease(
        kind=kind,
        subject=subject,
        token=claimed.lease_token,
        failures=claimed.failures,
        is_suspect=Crashes(claimed.crashes).is_suspect,
        request_id=claimed.request_id,
        is_last=not (claimed.others_wait or kind.is_background),
        has_chunks=bool(stored),
    )


async def _lease_first(
    session: AsyncSession, lease_seconds: float, wanted: Wanted, start: Place | None
) -> Row[*tuple[Any, ...]] | None:
    """Lease the first wanted job of the queue, or of its part that begins at `start`."""
    statement = _build_claim(
        includes_background=wanted.background, is_for_guest=bool(wanted.guest_of), has_start=start is not None
    )
    values = {
        "alone": wanted.alone,
        "only_short": wanted.only_short,
        "hosts": list(wanted.guest_of),
        "token": uuid4(),
        "lease": timedelta(seconds=lease_seconds),
    }
    if start:
        values |= {"first_start": start.virtual_start, "first_queued": start.queued_at}
    # On the connection, because the session would look for objects that the statement changes.
    result = await (await session.connection()).execute(statement, values)
    claimed: Row[*tuple[Any, ...]] | None = result.one_or_none()
    return claimed


@cache
def _build_claim(
    *, includes_background: bool, is_for_guest: bool, has_start: bool
) -> ReturningUpdate[*tuple[Any, ...]]:
    """Build the statement once, because building takes longer than executing."""
    order = (Job.virtual_start, Job.queued_at)
    start = tuple_(bindparam("first_start", type_=BigInteger), bindparam("first_queued", type_=Job.queued_at.type))
    candidate = (
        select(Job.owner_id, Job.kind, Job.subject_id)
        .where(
            Job.lease_token.is_(None),
            _is_due(),
            bindparam("alone", type_=Boolean) | not_(_IS_SUSPECT | _find_impatient_suspect()),
            not_(bindparam("only_short", type_=Boolean)) | (Job.size_bytes <= SHORT_BYTES),
            not_(_IS_STUCK) & _IS_ABOUT_SUBJECT if includes_background else _IS_FOREGROUND,
            _is_guest() if is_for_guest else true(),
            tuple_(*order) >= start if has_start else true(),
        )
        .order_by(*order)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("candidate")
    )
    other = aliased(Job)
    others_wait = (
        select(other.subject_id)
        .where(
            other.lease_token.is_(None),
            other.virtual_start < deliveries.FIRST_START,
            (other.subject_id != Job.subject_id) | (other.kind != Job.kind),
            tuple_(other.virtual_start, other.queued_at) >= start if has_start else true(),
        )
        .exists()
    )
    return (
        update(Job)
        .where(
            Job.owner_id == candidate.c.owner_id,
            Job.kind == candidate.c.kind,
            Job.subject_id == candidate.c.subject_id,
        )
        .values(lease_token=bindparam("token", type_=Uuid), step=0, **_renew_lease(bindparam("lease", type_=Interval)))
        .returning(
            *(Job.owner_id, Job.subject_id, Job.kind, Job.lease_token, Job.failures, Job.crashes, Job.request_id),
            *(Job.virtual_start.label("virtual_start"), Job.queued_at),
            others_wait.label("others_wait"),
        )
    )


async def extend(session: AsyncSession, tokens: Collection[UUID], lease_seconds: float) -> set[UUID]:
    """Extend these leases (the heartbeat). Return the tokens of the leases that are still held."""
    held = await session.scalars(
        update(Job)
        .where(Job.lease_token.in_(tokens))
        .values(**_renew_lease(timedelta(seconds=lease_seconds)))
        .returning(Job.lease_token)
    )
    return {token for token in held if token is not None}


async def report_progress(session: AsyncSession, lease: Lease, progress: float) -> None:
    """Report progress from 0 to 1. Background jobs report none."""
    if lease.kind.is_background:
        return
    values = {
        "owner": lease.subject.owner_id,
        "job": lease.kind,
        "subject": lease.subject.id,
        "token": lease.token,
        "reached": progress,
    }
    reported = await (await session.connection()).execute(_build_report(lease.subject.kind), values)
    if reported.one_or_none():
        await notifications.announce(session, lease.subject)


@cache
def _build_report(kind: SubjectKind) -> AnyUpdate:
    """Build the statement once, because building takes longer than executing."""
    model, owner, subject = MODELS[kind], bindparam("owner", type_=Uuid), bindparam("subject", type_=Uuid)
    held = and_(
        Job.owner_id == owner,
        Job.kind == bindparam("job", type_=String),
        Job.subject_id == subject,
        Job.lease_token == bindparam("token", type_=Uuid),
    )
    return (
        update(model)
        .where(model.owner_id == owner, model.id == subject, select(Job.subject_id).where(held).exists())
        .values(updated_at=func.clock_timestamp(), progress=bindparam("reached", type_=model.progress.type))
        .returning(model.id)
    )


async def mark_step(session: AsyncSession, lease: Lease, step: int) -> None:
    """Record the step that a suspect takes next. If the worker dies, the sweep sees where."""
    await session.execute(update(Job).where(_is_held(lease)).values(step=step))


async def complete(session: AsyncSession, lease: Lease) -> None:
    """Delete a job that this worker holds. Every transaction that ends a job begins with this.

    Only the lock on the embedding models comes earlier. Raises LeaseLost if this worker no longer holds the job; the
    transaction must then be rolled back.
    """
    gone = await session.execute(delete(Job).where(_is_held(lease)).returning(Job.subject_id))
    if gone.one_or_none() is None:
        raise LeaseLost


async def mark_ready(session: AsyncSession, lease: Lease, **found: object) -> None:
    """Set the status `ready`, in the transaction that stores the chunks, after `complete`.

    `found` are the columns that the ingestion determined: `chunks`, and for a document `chunks_reused`, `pages`,
    `pages_with_text` and `warnings`.
    """
    await _set(session, lease.subject, status=Status.READY, progress=1.0, ingested_at=func.clock_timestamp(), **found)
    await _tell(session, lease.subject, WebhookEvent.READY)


async def fail(session: AsyncSession, lease: Lease, error: IngestionError) -> None:
    """Delete the job and set the status `failed`. A document keeps the chunks of its previous version. A note does not.

    Raises LeaseLost if this worker no longer holds the job.
    """
    await complete(session, lease)
    await _mark_failed(session, lease.subject, error)


async def retry_or_fail(session: AsyncSession, lease: Lease, error: IngestionError) -> bool:
    """After an error that may be temporary, queue the job again, or fail it if this was the last attempt.

    Return True if it is queued again. After its last attempt, a background job stays in the table but is no longer
    claimed. Raises LeaseLost if this worker no longer holds the job.
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
    """Return a job to the queue without counting the attempt, for example because the worker stops.

    The job can be claimed again after `pause`, which is at most LONGEST_PAUSE. Raises LeaseLost if this worker no
    longer holds the job.
    """
    await _release(session, lease, available_at=func.clock_timestamp() + pause)
    await _mark_pending(session, lease.kind, lease.subject, attempts=MODELS[lease.subject.kind].attempts - 1)


async def list_leases(session: AsyncSession) -> dict[UUID, datetime]:
    """Return the end of every lease, by its token."""
    leases = select(Job.lease_token, Job.lease_until).where(Job.lease_token.is_not(None))
    return {token: until for token, until in await session.execute(leases) if token and until}


async def take_back(session: AsyncSession, lost: Mapping[UUID, datetime]) -> int:
    """Return jobs to the queue whose leases still end as given, or fail those that are given up. Return their number.

    While PostgreSQL restarts, workers cannot send heartbeats. A lease that none has renewed since then is not counted
    as a crash.
    """
    is_of_earlier_start = Job.server_started.is_distinct_from(func.pg_postmaster_start_time())
    unchanged = await session.execute(
        select(Job, is_of_earlier_start.label("lost_in_restart"))
        .where(tuple_(Job.lease_token, Job.lease_until).in_(list(lost.items())))
        .with_for_update(skip_locked=True)
    )
    rows = unchanged.all()
    for job, lost_in_restart in rows:
        if job.kind == DELIVERIES:
            await deliveries.take_back(session, job)
        elif lost_in_restart:
            await _return_uncounted(session, job)
        else:
            await _return_or_fail(session, job)
    return len(rows)


async def _return_uncounted(session: AsyncSession, job: Job) -> None:
    kind = JobKind(job.kind)
    subject = Subject(job.owner_id, kind.subject, job.subject_id)
    await act_for(session, Caller(subject.owner_id))
    await session.execute(update(Job).where(_is(kind, subject)).values(lease_token=None, lease_until=None))
    await _mark_pending(session, kind, subject, attempts=MODELS[subject.kind].attempts - 1)


async def _return_or_fail(session: AsyncSession, job: Job) -> None:
    kind = JobKind(job.kind)
    subject = Subject(job.owner_id, kind.subject, job.subject_id)
    crashes = Crashes(job.crashes, job.repeats, job.crash_step).add(job.step)
    await act_for(session, Caller(subject.owner_id))
    if crashes.is_given_up and not kind.is_background:
        await session.execute(delete(Job).where(_is(kind, subject)))
        message = (
            f"The worker crashed or stopped responding {crashes.total} times. Retry; if it fails again, report it."
        )
        await _mark_failed(session, subject, IngestionError(FailureCode.WORKER_LOST, message))
        return
    await session.execute(
        update(Job)
        .where(_is(kind, subject))
        .values(
            lease_token=None,
            lease_until=None,
            available_at=func.clock_timestamp(),
            crashes=crashes.total,
            repeats=crashes.repeats,
            crash_step=crashes.step,
        )
    )
    await _mark_pending(session, kind, subject)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An owner's unfinished documents and notes: their number, and the bytes of the documents."""

    count: int
    bytes: int


async def measure_waiting(session: AsyncSession, owner_id: UUID, excluded: UUID | None = None) -> Waiting:
    """Measure an owner's unfinished documents and notes, without the document `excluded`, which is being replaced."""
    query = select(func.count(), func.coalesce(func.sum(Job.size_bytes), 0)).where(
        Job.owner_id == owner_id, _IS_FOREGROUND, Job.subject_id.is_distinct_from(excluded)
    )
    count, size_bytes = (await session.execute(query)).one()
    return Waiting(count, int(size_bytes))


async def find_positions(session: AsyncSession, owner_id: UUID, document_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return the queue positions, counted from 1, of these documents if they wait. Others are left out.

    Each waiting job is counted at most once: from one document to the next, and then summed up. The cost grows with the
    length of the queue.
    """
    if not document_ids:
        return {}
    order = (Job.virtual_start, Job.queued_at)
    previous = [func.lag(part).over(order_by=order) for part in order]
    asked = (
        select(Job.subject_id, *order, previous[0].label("after_start"), previous[1].label("after_queued"))
        .where(Job.owner_id == owner_id, Job.kind == JobKind.DOCUMENT, Job.subject_id.in_(document_ids), _IS_WAITING)
        .subquery()
    )
    earlier = aliased(Job)
    key = tuple_(earlier.virtual_start, earlier.queued_at)
    between = (
        select(func.count().label("jobs"))
        .where(
            earlier.lease_token.is_(None),
            key < tuple_(asked.c.virtual_start, asked.c.queued_at),
            key
            >= tuple_(func.coalesce(asked.c.after_start, -1), func.coalesce(asked.c.after_queued, asked.c.queued_at)),
        )
        .lateral()
    )
    position = func.sum(between.c.jobs).over(order_by=(asked.c.virtual_start, asked.c.queued_at)) + 1
    rows = await session.execute(select(asked.c.subject_id, position.label("position")).join(between, literal(True)))
    return {row.subject_id: int(row.position) for row in rows}


async def list_front(session: AsyncSession, limit: int = FRONT_JOBS) -> tuple[bytes, bytes]:
    """Return the ids of the first `limit` waiting documents and notes, in the order of the queue, and their owners.

    Each has 16 bytes. A note has zeros in place of its owner. 20,000 UUID objects would hold up the event loop, and
    each garbage collection after it.
    """
    document_owner = case((Job.kind == JobKind.DOCUMENT, Job.owner_id), else_=UUID(int=0))
    order = (Job.virtual_start, Job.queued_at)
    front = (
        select(Job.subject_id, document_owner.label("owner_id"), *order)
        .where(_IS_WAITING)
        .order_by(*order)
        .limit(limit)
        .subquery()
    )
    in_order = (front.c.virtual_start, front.c.queued_at)
    columns = (
        func.string_agg(func.uuid_send(column), aggregate_order_by(literal(b""), *in_order))
        for column in (front.c.subject_id, front.c.owner_id)
    )
    ids, owners = (await session.execute(select(*columns))).one()
    return ids or b"", owners or b""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Numbers and ages of the jobs of all owners, without background jobs. An age is 0 if there is no such job."""

    waiting: int
    oldest_seconds: float
    """Time since the oldest waiting job could first be claimed."""
    leased: int
    overdue_seconds: float
    """Time since the oldest expired lease expired. It grows if no worker sweeps."""


async def measure_backlog(session: AsyncSession) -> Backlog:
    """Measure the queue of all owners, for operators."""
    now = func.clock_timestamp()
    is_waiting = Job.lease_token.is_(None)
    row = await session.execute(
        select(
            func.count().filter(is_waiting),
            func.extract("epoch", now - func.min(Job.available_at).filter(is_waiting)),
            func.count().filter(~is_waiting),
            func.extract("epoch", now - func.min(Job.lease_until)),
        ).where(_IS_FOREGROUND)
    )
    waiting, oldest_seconds, leased, overdue_seconds = row.one()
    return Backlog(waiting, max(0.0, float(oldest_seconds or 0)), leased, max(0.0, float(overdue_seconds or 0)))


async def count_background(session: AsyncSession) -> tuple[int, int]:
    """Count all background jobs, and those among them that were given up."""
    row = await session.execute(
        select(func.count(), func.count().filter(_IS_STUCK)).where(not_(_IS_FOREGROUND), _IS_ABOUT_SUBJECT)
    )
    total, stuck = row.one()
    return total, stuck


async def forget_stuck(session: AsyncSession) -> None:
    """Delete the background jobs that were given up, so that `enqueue_vectors` can queue them again."""
    await session.execute(delete(Job).where(_IS_STUCK))


async def _find_size(session: AsyncSession, subject: Subject) -> int:
    if subject.kind != SubjectKind.DOCUMENT:
        return 0
    query = select(Document.size_bytes).where(Document.owner_id == subject.owner_id, Document.id == subject.id)
    return await session.scalar(query) or 0


def _find_served_now() -> ScalarSelect[int | None]:
    """Return the virtual time: the highest virtual start time of the jobs that are being served."""
    leased = aliased(Job)
    is_served = leased.lease_token.is_not(None) & (leased.virtual_start < BACKGROUND_START)
    return select(func.max(leased.virtual_start)).where(is_served).scalar_subquery()


def _is_guest() -> ColumnElement[bool]:
    """Exclude the owners `hosts`. The first job of any other is not later than the virtual time, so look no further."""
    hosts = bindparam("hosts", type_=ARRAY(Uuid))
    return (Job.owner_id != func.all(hosts)) & (Job.virtual_start <= _find_served_now())


def _find_impatient_suspect() -> ColumnElement[bool]:
    suspect, now = aliased(Job), func.clock_timestamp()
    return (
        select(suspect.subject_id)
        .where(
            suspect.lease_token.is_(None),
            # Literal, because a partial index serves only conditions that the planner can read.
            suspect.crashes >= literal(SUSPECT_CRASHES, literal_execute=True),
            # The upper bound counts only after the clock has stepped back.
            not_(suspect.available_at.between(now - SUSPECT_PATIENCE, now + LONGEST_PAUSE)),
        )
        .exists()
    )


def _is_due() -> ColumnElement[bool]:
    now = func.clock_timestamp()
    # A time further away than the longest pause was stored before the clock stepped back.
    return (Job.available_at <= now) | (Job.available_at > now + LONGEST_PAUSE)


def _renew_lease(duration: timedelta | ColumnElement[timedelta]) -> dict[str, ColumnElement[Any]]:
    until = func.clock_timestamp() + duration
    return {"lease_until": until, "server_started": func.pg_postmaster_start_time()}


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
    counts: dict[str, int] = {}
    if subject.kind == SubjectKind.NOTE:
        # The old chunks do not match the note's new body. A document keeps the text that its chunks come from.
        await session.execute(delete(Chunk).where(Chunk.owner_id == subject.owner_id, Chunk.note_id == subject.id))
        counts["chunks"] = 0
    await _set(session, subject, status=Status.FAILED, error_code=error.code, error_message=error.message, **counts)
    await _tell(session, subject, WebhookEvent.FAILED)


async def _tell(session: AsyncSession, subject: Subject, event: WebhookEvent) -> None:
    if subject.kind == SubjectKind.DOCUMENT:
        await deliveries.record(session, subject.owner_id, subject.id, event)


async def _set(session: AsyncSession, subject: Subject, *conditions: ColumnElement[bool], **values: Any) -> int | None:
    """Change a document or note. Return the number of its chunks, or None if there is no such row."""
    model = MODELS[subject.kind]
    chunks: int | None = await session.scalar(
        update(model)
        .where(model.owner_id == subject.owner_id, model.id == subject.id, *conditions)
        .values(updated_at=func.clock_timestamp(), **values)
        .returning(model.chunks)
    )
    if chunks is not None:
        await notifications.announce(session, subject)
    return chunks
