"""Counts over all users, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Double, Integer, String, column, func, select
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many documents or notes have a status, and for how many seconds the oldest of them has had it."""

    kind: str
    status: str
    subjects: int
    oldest_seconds: float


async def count_statuses(session: AsyncSession) -> Sequence[StatusCount]:
    """Count by a function of the schema that may look past row-level security, and tells nothing but counts."""
    counted = func.sluice_count_statuses().table_valued(
        column("kind", String), column("status", String), column("subjects", Integer), column("oldest_seconds", Double)
    )
    rows = await session.execute(select(counted))
    return [StatusCount(row.kind, row.status, row.subjects, row.oldest_seconds) for row in rows]
