"""Notifications of changed documents and notes (PostgreSQL NOTIFY), sent by transactions to the API processes."""

from uuid import UUID

from sqlalchemy import String, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.types import Subject, SubjectKind

CHANNEL = "sluice_changes"
"""Channel of NOTIFY. A payload consists of kind, owner and id of the changed document or note."""


_NOTIFY = select(func.pg_notify(CHANNEL, bindparam("payload", type_=String)))


async def announce(session: AsyncSession, subject: Subject) -> None:
    """Notify the API processes of a change. PostgreSQL delivers it if and when the transaction commits."""
    payload = f"{subject.kind} {subject.owner_id} {subject.id}"
    await session.execute(_NOTIFY, {"payload": payload})


def parse(payload: str) -> Subject | None:
    """Return the document or note that a payload names, or None if the payload has another form."""
    try:
        kind, owner_id, subject_id = payload.split(" ")
        return Subject(UUID(owner_id), SubjectKind(kind), UUID(subject_id))
    except ValueError:
        return None
