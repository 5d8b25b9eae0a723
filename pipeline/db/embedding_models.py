"""The active embedding model, the next one, and the switch between them.

Two advisory locks make the switch atomic. The switch takes both exclusively. A transaction that stores vectors shares
STORING, which it takes before any other lock. A process that is still loading the next model shares LOADING.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Delete, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import EmbeddingModel, Job
from pipeline.types import JobKind

STORING = (8, 1)
LOADING = (8, 2)

ACTIVE, NEXT = "active", "next"


@dataclass(frozen=True, slots=True)
class Models:
    """Names of the active and the next model."""

    active: str | None
    next: str | None


def is_active(name: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that the model of this name is active, evaluated within the statement that contains it."""
    return select(EmbeddingModel.name).where(EmbeddingModel.name == name, EmbeddingModel.state == ACTIVE).exists()


async def read(session: AsyncSession) -> Models:
    """Return the active and the next model."""
    rows = await session.execute(select(EmbeddingModel.state, EmbeddingModel.name))
    names = {row.state: row.name for row in rows}
    return Models(names.get(ACTIVE), names.get(NEXT))


async def adopt(session: AsyncSession, configured: str) -> None:
    """Make the configured model the active one if there are no chunks yet."""
    await session.execute(select(func.sluice_adopt_model(configured)))


async def hold(session: AsyncSession) -> Models:
    """Return the models, and prevent a switch until the end of this transaction."""
    await session.execute(select(func.pg_advisory_xact_lock_shared(*STORING)))
    return await read(session)


async def delay_switch(session: AsyncSession) -> None:
    """Prevent a switch until the end of this transaction, which may then be idle for as long as a model loads."""
    await session.execute(select(func.set_config("idle_in_transaction_session_timeout", "0", True)))
    await session.execute(select(func.pg_advisory_xact_lock_shared(*LOADING)))


async def sees_everything(session: AsyncSession) -> bool:
    """Return True if row-level security does not apply to this session."""
    return not await session.scalar(select(func.row_security_active("chunks")))


async def register(session: AsyncSession, name: str) -> None:
    """Register the next model if there is none yet."""
    await session.execute(insert(EmbeddingModel).values(name=name, state=NEXT).on_conflict_do_nothing())


async def drop_next(session: AsyncSession) -> None:
    """Cancel the change to the next model. Its vectors stay until `chunks.delete_unused`."""
    await session.execute(select(func.pg_advisory_xact_lock(*STORING)))
    await session.execute(_delete_jobs())
    await session.execute(delete(EmbeddingModel).where(EmbeddingModel.state == NEXT))


async def lock_for_switch(session: AsyncSession) -> bool:
    """Prevent other transactions from storing vectors until the end of this one.

    Return False, without waiting, if a process is still loading the next model.
    """
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(*LOADING))):
        return False
    await session.execute(select(func.pg_advisory_xact_lock(*STORING)))
    return True


async def switch(session: AsyncSession) -> None:
    """Make the next model the active one when this transaction commits.

    The caller has called `lock_for_switch` and checked that all chunks have a vector of the next model.
    """
    await session.execute(_delete_jobs())
    await session.execute(delete(EmbeddingModel).where(EmbeddingModel.state == ACTIVE))
    await session.execute(
        update(EmbeddingModel).where(EmbeddingModel.state == NEXT).values(state=ACTIVE, since=func.now())
    )


def _delete_jobs() -> Delete:
    return delete(Job).where(Job.kind.in_([kind for kind in JobKind if kind.is_background]))
