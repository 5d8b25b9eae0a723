"""Notifications of changed documents and notes (PostgreSQL NOTIFY), sent by transactions to the API processes."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ARRAY, String, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.types import Subject, SubjectKind

CHANNEL = "sluice_changes"
"""Channel of NOTIFY. A payload consists of kind, owner and id of the changed document or note."""


_NOTIFY = select(func.pg_notify(CHANNEL, bindparam("payload", type_=String)))


_NOTIFY_ALL = select(
    func.count(func.pg_notify(CHANNEL, func.unnest(bindparam("payloads", type_=ARRAY(String))).column_valued()))
)


async def announce(session: AsyncSession, subject: Subject) -> None:
    """Notify the API processes of a change. PostgreSQL delivers it if and when the transaction commits."""
    await session.execute(_NOTIFY, {"payload": _write(subject)})


async def announce_all(session: AsyncSession, subjects: Sequence[Subject]) -> None:
    """Notify the API processes of several changes."""
    await session.execute(_NOTIFY_ALL, {"payloads": [_write(subject) for subject in subjects]})


def _write(subject: Subject) -> str:
    return f"{subject.kind} {subject.owner_id} {subject.id}"


def parse(payload: str) -> Subject | None:
    """Return the document or note that a payload names, or None if the payload has another form."""
    try:
        kind, owner_id, subject_id = payload.split(" ")
        return Subject(UUID(owner_id), SubjectKind(kind), UUID(subject_id))
    except ValueError:
        return None
