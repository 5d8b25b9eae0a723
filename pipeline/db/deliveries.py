"""Deliveries: what receivers are told about documents, and the jobs that tell them.

The deliveries about one document to one receiver are a stream. A stream that has pending deliveries has one job in the
queue, so its deliveries are sent one after the other, in order:

- `record` inserts a delivery, in the transaction that changes the document, and a job unless the stream has one.
- `claim` leases the job that is due first. `find_next` returns the first pending delivery of its stream.
- `finish` stores the outcome. It deletes the job, or returns it to the queue for the next delivery or the next try.
- `give_back` and `take_back` return the job to the queue without an outcome. The delivery is then sent again.

Transactions that write deliveries of one document follow each other, because each has first locked the document's job
or called `queue.lock_subject`. They lock the jobs of its streams after the row of the document, in the order of the
receivers.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid4, uuid5

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Interval,
    Uuid,
    and_,
    any_,
    bindparam,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from pipeline.db.models import DELIVERIES, Document, Job, Webhook, WebhookDelivery
from pipeline.db.session import act_for
from pipeline.errors import LeaseLost
from pipeline.types import Caller, DeliveryStatus, Failure, WebhookEvent, new_id

FIRST_START = 2**41
"""Virtual start time of jobs that deliver events. All other jobs have lower ones. The number of tries that have failed
is added."""
LONGEST_PAUSE = timedelta(hours=6)
"""A job whose pause ends later than this was stored before the clock stepped back, so it is due."""
KEPT = timedelta(days=30)
"""Time after which deliveries that are not pending are deleted, when another one of the account is finished."""


@dataclass(frozen=True, slots=True)
class StreamLease:
    """The right of one worker to send the deliveries of one stream."""

    owner_id: UUID
    stream_id: UUID
    token: UUID
    failures: int
    """Number of tries of the first delivery that have failed."""


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery to be sent."""

    id: UUID
    webhook_id: UUID
    url: str
    secret: bytes
    body: str
    attempts: int
    """Number of tries that have failed."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of a try: the status of the answer, if there was one, and why the try has failed."""

    response_status: int | None
    error: str | None


class _Subject(msgspec.Struct, omit_defaults=True):
    """The document that an event is about."""

    id: UUID
    filename: str
    status: str
    error: Failure | None
    external_id: str | None = None


class _Body(msgspec.Struct):
    """The JSON of an event, in the form of Standard Webhooks."""

    type: WebhookEvent
    timestamp: datetime
    data: _Subject


STATUSES = {WebhookEvent.READY: "ready", WebhookEvent.FAILED: "failed", WebhookEvent.DELETED: "deleted"}


async def record(session: AsyncSession, owner_id: UUID, document_id: UUID, event: WebhookEvent) -> None:
    """Tell the owner's receivers of this event, in the transaction that causes it, while the document exists."""
    wanted = (
        select(Webhook.id, Document.filename, Document.external_id, Document.error_code, Document.error_message)
        .join(Document, Document.owner_id == Webhook.owner_id)
        .where(
            Webhook.owner_id == owner_id,
            literal(event.value) == any_(Webhook.events),
            Document.id == document_id,
        )
        .order_by(Webhook.id)
    )
    rows = (await session.execute(wanted)).all()
    if not rows:
        return
    failure = Failure(rows[0].error_code, rows[0].error_message or "") if event == WebhookEvent.FAILED else None
    subject = _Subject(document_id, rows[0].filename, STATUSES[event], failure, rows[0].external_id)
    body = msgspec.json.encode(_Body(event, datetime.now(UTC), subject)).decode()
    streams = {uuid5(row.id, document_id.hex): row.id for row in rows}
    for stream_id, webhook_id in streams.items():
        await session.execute(
            insert(WebhookDelivery).values(
                owner_id=owner_id,
                id=new_id(),
                webhook_id=webhook_id,
                document_id=document_id,
                stream_id=stream_id,
                position=_next_position(owner_id, stream_id),
                event=event,
                body=body,
            )
        )
    await _queue(session, owner_id, streams)


def _next_position(owner_id: UUID, stream_id: UUID) -> ColumnElement[int]:
    last = select(func.max(WebhookDelivery.position)).where(
        WebhookDelivery.owner_id == owner_id, WebhookDelivery.stream_id == stream_id
    )
    return func.coalesce(last.scalar_subquery(), 0) + 1


async def _queue(session: AsyncSession, owner_id: UUID, streams: Iterable[UUID], **changed: Any) -> None:
    """Insert the jobs of these streams, or lock and change those that exist.

    The lock matters: a worker that finishes the last delivery of a stream waits for it, and then sees the new one.
    """
    jobs = insert(Job).values(
        [
            {"owner_id": owner_id, "kind": DELIVERIES, "subject_id": stream_id, "virtual_start": FIRST_START}
            for stream_id in streams
        ]
    )
    key = [Job.owner_id, Job.kind, Job.subject_id]
    await session.execute(
        jobs.on_conflict_do_update(index_elements=key, set_={"subject_id": jobs.excluded.subject_id, **changed})
    )


async def redeliver(session: AsyncSession, owner_id: UUID, delivery_id: UUID) -> bool:
    """Send a delivery again, as if it were new. Return False if it is pending.

    It is sent before later deliveries of its stream that are pending.
    """
    query = select(WebhookDelivery.stream_id).where(
        WebhookDelivery.owner_id == owner_id, WebhookDelivery.id == delivery_id
    )
    await _queue(session, owner_id, await session.scalars(query), available_at=func.clock_timestamp())
    reset = await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.owner_id == owner_id,
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.status != DeliveryStatus.PENDING,
        )
        .values(status=DeliveryStatus.PENDING, attempts=0)
        .returning(WebhookDelivery.id)
    )
    return reset.one_or_none() is not None


async def discard(session: AsyncSession, owner_id: UUID, webhook_id: UUID) -> None:
    """Delete the jobs of a receiver that is being deleted. A worker that holds one loses its lease."""
    pending = select(WebhookDelivery.stream_id).where(
        WebhookDelivery.owner_id == owner_id,
        WebhookDelivery.webhook_id == webhook_id,
        WebhookDelivery.status == DeliveryStatus.PENDING,
    )
    await session.execute(
        delete(Job).where(Job.owner_id == owner_id, Job.kind == DELIVERIES, Job.subject_id.in_(pending))
    )


async def claim(
    session: AsyncSession, lease_seconds: float, *, busy: Collection[UUID], only_new: bool
) -> StreamLease | None:
    """Lease the job that is due first. Return None if there is none. The transaction then acts for its owner.

    Jobs of the owners `busy` are skipped. `only_new` skips those whose first delivery has failed before.
    """
    values = {
        "busy": list(busy),
        "last_start": FIRST_START if only_new else FIRST_START + 2**15,
        "token": uuid4(),
        "lease": timedelta(seconds=lease_seconds),
    }
    claimed = (await (await session.connection()).execute(_build_claim(), values)).one_or_none()
    if claimed is None:
        return None
    await act_for(session, Caller(claimed.owner_id))
    return StreamLease(claimed.owner_id, claimed.subject_id, claimed.lease_token, claimed.virtual_start - FIRST_START)


@cache
def _build_claim() -> ReturningUpdate[*tuple[Any, ...]]:
    """Build the statement once, because building takes longer than executing."""
    now = func.clock_timestamp()
    candidate = (
        select(Job.owner_id, Job.subject_id)
        .where(
            # Literal, because a partial index serves only conditions that the planner can read.
            Job.kind == literal(DELIVERIES, literal_execute=True),
            Job.lease_token.is_(None),
            (Job.available_at <= now) | (Job.available_at > now + LONGEST_PAUSE),
            Job.virtual_start <= bindparam("last_start", type_=BigInteger),
            Job.owner_id != func.all(bindparam("busy", type_=ARRAY(Uuid))),
        )
        .order_by(Job.available_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("candidate")
    )
    return (
        update(Job)
        .where(
            Job.owner_id == candidate.c.owner_id,
            Job.kind == literal(DELIVERIES, literal_execute=True),
            Job.subject_id == candidate.c.subject_id,
        )
        .values(
            lease_token=bindparam("token", type_=Uuid),
            lease_until=func.clock_timestamp() + bindparam("lease", type_=Interval),
            server_started=func.pg_postmaster_start_time(),
        )
        .returning(Job.owner_id, Job.subject_id, Job.lease_token, Job.virtual_start.label("virtual_start"))
    )


async def find_next(session: AsyncSession, lease: StreamLease) -> Message | None:
    """Return the first pending delivery of a stream, in a transaction that acts for its owner."""
    query = (
        select(
            WebhookDelivery.id,
            WebhookDelivery.webhook_id,
            Webhook.url,
            Webhook.secret,
            WebhookDelivery.body,
            WebhookDelivery.attempts,
        )
        .join(Webhook, and_(Webhook.owner_id == WebhookDelivery.owner_id, Webhook.id == WebhookDelivery.webhook_id))
        .where(*_are_pending(lease))
        .order_by(WebhookDelivery.position)
        .limit(1)
    )
    row = (await session.execute(query)).one_or_none()
    return Message(*row) if row else None


async def finish(
    session: AsyncSession, lease: StreamLease, message: Message, attempt: Attempt, pause: timedelta | None
) -> DeliveryStatus:
    """Store the outcome of a try. Return the status of the delivery.

    After a failure the delivery is tried again after `pause`, or is dead if there is none. The transaction acts for the
    owner. Raises LeaseLost if this worker no longer holds the job.
    """
    await _lock(session, lease)
    status = DeliveryStatus.DELIVERED if attempt.error is None else DeliveryStatus.DEAD
    if attempt.error is not None and pause is not None:
        status = DeliveryStatus.PENDING
    await session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.owner_id == lease.owner_id, WebhookDelivery.id == message.id)
        .values(
            status=status,
            attempts=WebhookDelivery.attempts + 1,
            response_status=attempt.response_status,
            error=attempt.error,
            attempted_at=func.clock_timestamp(),
        )
    )
    await _forget_old(session, lease.owner_id)
    if status == DeliveryStatus.PENDING:
        await _release(session, lease, pause, failures=message.attempts + 1)
    else:
        await close(session, lease)
    return status


async def close(session: AsyncSession, lease: StreamLease) -> None:
    """Delete the job, or return it to the queue if the stream has a pending delivery.

    The transaction acts for the owner. Raises LeaseLost if this worker no longer holds the job.
    """
    await _lock(session, lease)
    following = select(WebhookDelivery.attempts).where(*_are_pending(lease))
    attempts = await session.scalar(following.order_by(WebhookDelivery.position).limit(1))
    if attempts is None:
        await session.execute(delete(Job).where(_is_held(lease)))
    else:
        await _release(session, lease, timedelta(), failures=attempts)


async def give_back(session: AsyncSession, lease: StreamLease) -> None:
    """Return a job to the queue because its worker stops. If its lease is lost, nothing happens."""
    await _release(session, lease, timedelta(), failures=lease.failures)


async def take_back(session: AsyncSession, job: Job) -> None:
    """Return a job to the queue whose lease is lost. No try is counted, because it may have succeeded."""
    await session.execute(
        update(Job)
        .where(Job.owner_id == job.owner_id, Job.kind == DELIVERIES, Job.subject_id == job.subject_id)
        .values(lease_token=None, lease_until=None, available_at=func.clock_timestamp())
    )


def _are_pending(lease: StreamLease) -> tuple[ColumnElement[bool], ...]:
    return (
        WebhookDelivery.owner_id == lease.owner_id,
        WebhookDelivery.stream_id == lease.stream_id,
        WebhookDelivery.status == DeliveryStatus.PENDING,
    )


def _is_held(lease: StreamLease) -> ColumnElement[bool]:
    return and_(
        Job.owner_id == lease.owner_id,
        Job.kind == DELIVERIES,
        Job.subject_id == lease.stream_id,
        Job.lease_token == lease.token,
    )


async def _lock(session: AsyncSession, lease: StreamLease) -> None:
    """Lock the job, so that no delivery is added to its stream until the end of this transaction.

    Raises LeaseLost if this worker no longer holds it.
    """
    if await session.scalar(select(Job.subject_id).where(_is_held(lease)).with_for_update()) is None:
        raise LeaseLost


async def _release(session: AsyncSession, lease: StreamLease, pause: timedelta | None, *, failures: int) -> None:
    await session.execute(
        update(Job)
        .where(_is_held(lease))
        .values(
            lease_token=None,
            lease_until=None,
            virtual_start=FIRST_START + failures,
            available_at=func.clock_timestamp() + pause,
        )
    )


async def _forget_old(session: AsyncSession, owner_id: UUID) -> None:
    """Delete the oldest deliveries of the account. Their ids begin with their time, so the key finds them."""
    oldest = int((datetime.now(UTC) - KEPT).timestamp() * 1000)
    await session.execute(
        delete(WebhookDelivery).where(
            WebhookDelivery.owner_id == owner_id,
            WebhookDelivery.id < UUID(int=oldest << 80),
            WebhookDelivery.status != DeliveryStatus.PENDING,
        )
    )
