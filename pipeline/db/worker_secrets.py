"""Secrets that all workers of a database share."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import WorkerSecret

MESSAGES = "messages"


async def find_message_key(session: AsyncSession) -> bytes | None:
    """Return the key, 32 bytes, of the messages that workers send each other, or None if its row was deleted."""
    return await session.scalar(select(WorkerSecret.secret).where(WorkerSecret.purpose == MESSAGES))
