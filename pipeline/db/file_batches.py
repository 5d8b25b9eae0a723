"""Batches of documents that clients in the format of OpenAI put into a collection together."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import stores
from pipeline.db.models import FileBatch
from pipeline.errors import NotFound
from pipeline.types import FileBatch as CountedBatch
from pipeline.types import FileCounts, ListPart, StoreFile

MAX_BATCHES = 1000
"""Maximum number of batches of a collection that are kept. The oldest ones are deleted first."""
LONGEST_HOURS = 24
"""Time after which a batch is over, although documents are still in progress."""


async def add(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, batch_id: UUID, document_ids: Sequence[UUID]
) -> None:
    """Insert a batch of a collection that exists, and delete the oldest ones if there are too many."""
    await session.execute(
        insert(FileBatch).values(
            owner_id=owner_id, id=batch_id, collection_id=collection_id, document_ids=list(document_ids)
        )
    )
    of_collection = (FileBatch.owner_id == owner_id, FileBatch.collection_id == collection_id)
    newest = select(FileBatch.id).where(*of_collection).order_by(FileBatch.id.desc())
    oldest_kept = newest.offset(MAX_BATCHES - 1).limit(1).scalar_subquery()
    await session.execute(delete(FileBatch).where(*of_collection, FileBatch.id < oldest_kept))


async def get(session: AsyncSession, owner_id: UUID, collection_id: UUID, batch_id: UUID) -> CountedBatch:
    """Return a batch of a collection, with the numbers of its documents by their state.

    Raises NotFound if the owner has no such batch there.
    """
    row = await _find(session, owner_id, collection_id, batch_id)
    files, last = await stores.count_among(session, owner_id, collection_id, row.document_ids)
    is_over = await session.scalar(
        select(func.clock_timestamp() - row.created_at > func.make_interval(0, 0, 0, 0, LONGEST_HOURS))
    )
    if is_over and files.in_progress:
        files = FileCounts(0, files.completed, files.failed + files.in_progress, files.cancelled)
    return CountedBatch(row.id, collection_id, files, last if files.in_progress else None, row.created_at)


async def list_files(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, batch_id: UUID, part: ListPart, state: str | None
) -> tuple[list[StoreFile], bool]:
    """Return a part of the documents of a batch that are still in the collection, and whether more follow.

    Raises NotFound if the owner has no such batch there, InvalidInput if it has no document next to which the part
    would begin.
    """
    row = await _find(session, owner_id, collection_id, batch_id)
    return await stores.list_store_files(session, owner_id, collection_id, part, state, row.document_ids)


async def _find(session: AsyncSession, owner_id: UUID, collection_id: UUID, batch_id: UUID) -> FileBatch:
    row = await session.scalar(
        select(FileBatch).where(
            FileBatch.owner_id == owner_id, FileBatch.id == batch_id, FileBatch.collection_id == collection_id
        )
    )
    if row is None:
        raise NotFound("This batch does not exist. Check both ids.")
    return row
