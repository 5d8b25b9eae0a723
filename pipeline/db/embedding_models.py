"""Which model answers, which one is to take over, and the one step in which it does.

Two advisory locks of the whole database keep that step whole. Whoever stores vectors shares the first one, before
any other lock; a process that still loads the next model shares the second.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Delete, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from pipeline.db.models import EmbeddingModel, Job
from pipeline.types import JobKind

STORING = (8, 1)
LOADING = (8, 2)

ACTIVE, NEXT = "active", "next"


@dataclass(frozen=True, slots=True)
class Models:
    """Names of the model that answers, and of the one that is to take over."""

    active: str | None
    next: str | None


def is_active(name: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the model of this name answers, as of the statement in which it stands."""
    return select(EmbeddingModel.name).where(EmbeddingModel.name == name, EmbeddingModel.state == ACTIVE).exists()


async def read(session: AsyncSession) -> Models:
    """Which models there are."""
    rows = await session.execute(select(EmbeddingModel.state, EmbeddingModel.name))
    names = {row.state: row.name for row in rows}
    return Models(names.get(ACTIVE), names.get(NEXT))


async def adopt(session: AsyncSession, configured: str) -> None:
    """Let the configured model be the one that answers, where there are no chunks yet."""
    await session.execute(select(func.sluice_adopt_model(configured)))


async def hold(session: AsyncSession) -> Models:
    """Read them, and let nothing change about them before the end of this transaction, which stores vectors."""
    await session.execute(select(func.pg_advisory_xact_lock_shared(*STORING)))
    return await read(session)


async def delay_switch(connection: AsyncConnection) -> None:
    """Let no switch happen until `allow_switch` on this connection, or until it breaks."""
    await connection.execute(select(func.pg_advisory_lock_shared(*LOADING)))


async def allow_switch(connection: AsyncConnection) -> None:
    """Undo `delay_switch`."""
    await connection.execute(select(func.pg_advisory_unlock_shared(*LOADING)))


async def sees_everything(session: AsyncSession) -> bool:
    """Whether this session is bound by no row-level security."""
    return not await session.scalar(select(func.row_security_active("chunks")))


async def register(session: AsyncSession, name: str) -> None:
    """Name the model that is to take over, if none is named yet."""
    await session.execute(insert(EmbeddingModel).values(name=name, state=NEXT).on_conflict_do_nothing())


async def drop_next(session: AsyncSession) -> None:
    """Give up the change; the vectors that it made stay to be deleted."""
    await session.execute(select(func.pg_advisory_xact_lock(*STORING)))
    await session.execute(_delete_jobs())
    await session.execute(delete(EmbeddingModel).where(EmbeddingModel.state == NEXT))


async def close_for_switch(session: AsyncSession) -> bool:
    """Let nobody store vectors before the end of this transaction; False while a process loads the next model."""
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(*LOADING))):
        return False
    await session.execute(select(func.pg_advisory_xact_lock(*STORING)))
    return True


async def switch(session: AsyncSession) -> None:
    """From the end of this transaction on the next model answers; what it needs is there, and nobody stores."""
    await session.execute(_delete_jobs())
    await session.execute(delete(EmbeddingModel).where(EmbeddingModel.state == ACTIVE))
    await session.execute(
        update(EmbeddingModel).where(EmbeddingModel.state == NEXT).values(state=ACTIVE, since=func.now())
    )


def _delete_jobs() -> Delete:
    return delete(Job).where(Job.kind.in_([kind for kind in JobKind if kind.is_background]))
