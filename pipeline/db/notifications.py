"""What the transactions tell the API processes: that a document or note has changed."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.types import Subject, SubjectKind

CHANNEL = "sluice_changes"
"""Of NOTIFY; the payload is kind, owner and id of what has changed."""


async def announce(session: AsyncSession, subject: Subject) -> None:
    """Tell the API processes; PostgreSQL delivers it when, and only if, the transaction commits."""
    payload = f"{subject.kind} {subject.owner_id} {subject.id}"
    await session.execute(select(func.pg_notify(CHANNEL, payload)))


def parse(payload: str) -> Subject | None:
    """Return what a payload names; None where it is none of ours."""
    try:
        kind, owner_id, subject_id = payload.split(" ")
        return Subject(UUID(owner_id), SubjectKind(kind), UUID(subject_id))
    except ValueError:
        return None
