"""Secrets that all workers of a database share."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import WorkerSecret

MESSAGES = "messages"


async def find_message_key(session: AsyncSession) -> bytes:
    """Return the key, 32 bytes, of the messages that workers send each other."""
    return (await session.execute(select(WorkerSecret.secret).where(WorkerSecret.purpose == MESSAGES))).scalar_one()
