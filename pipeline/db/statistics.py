"""Counts over all users, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Double, Integer, String, column, func, select
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class StatusCount:
    """Number of documents or notes with a status, and seconds since the last change to the least recently changed."""

    kind: str
    status: str
    subjects: int
    oldest_seconds: float


async def count_statuses(session: AsyncSession) -> Sequence[StatusCount]:
    """Count the documents and notes of all users by status.

    The SQL function bypasses row-level security and returns nothing but counts and ages.
    """
    counted = func.sluice_count_statuses().table_valued(
        column("kind", String), column("status", String), column("subjects", Integer), column("oldest_seconds", Double)
    )
    rows = await session.execute(select(counted))
    return [StatusCount(row.kind, row.status, row.subjects, row.oldest_seconds) for row in rows]
