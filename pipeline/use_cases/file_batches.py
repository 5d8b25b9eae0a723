"""Put many documents into a collection together, and wait until they are read."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from pipeline.db import file_batches
from pipeline.runtime import Runtime
from pipeline.types import Attributes, Caller, FileBatch, ListPart, StoreFile, new_id
from pipeline.use_cases import status_changes, stores


async def create(
    runtime: Runtime, caller: Caller, collection_id: UUID, files: Mapping[UUID, Attributes | None]
) -> FileBatch:
    """Put documents into a collection, or replace their attributes there. Without attributes, those they have stay.

    Raises NotFound if the caller has no such collection, or not all of the documents.
    """
    batch_id = new_id()
    async with runtime.database.transaction(caller) as session:
        await stores.put_files(session, caller, collection_id, files)
        await file_batches.add(session, caller.owner_id, collection_id, batch_id, sorted(files))
        return await file_batches.get(session, caller.owner_id, collection_id, batch_id)


async def get(runtime: Runtime, caller: Caller, collection_id: UUID, batch_id: UUID) -> FileBatch:
    """Return a batch of a collection. Documents that are gone since count as cancelled.

    Raises NotFound if the caller has no such batch there.
    """
    async with runtime.database.transaction(caller) as session:
        return await file_batches.get(session, caller.owner_id, collection_id, batch_id)


async def wait(runtime: Runtime, caller: Caller, collection_id: UUID, batch_id: UUID, seconds: float) -> FileBatch:
    """Return a batch when none of its documents is in progress, or after `seconds`.

    Raises NotFound if the caller has no such batch there, or no longer.
    """
    batch = await get(runtime, caller, collection_id, batch_id)
    if batch.last_unfinished is None:
        return batch
    # Documents of an account are read in the order of their uploads, so the last one is mostly the last to end.
    read = partial(get, runtime, caller, collection_id, batch_id)
    return await status_changes.wait_until(runtime, batch.last_unfinished, read, _is_over, seconds)


def _is_over(batch: FileBatch) -> bool:
    return batch.files.in_progress == 0


async def list_files(
    runtime: Runtime, caller: Caller, collection_id: UUID, batch_id: UUID, part: ListPart, state: str | None
) -> tuple[list[StoreFile], bool]:
    """Return a part of the documents of a batch that are still in the collection, and whether more follow.

    Raises NotFound if the caller has no such batch there, InvalidInput if it has no document next to which the part
    would begin.
    """
    async with runtime.database.transaction(caller) as session:
        return await file_batches.list_files(session, caller.owner_id, collection_id, batch_id, part, state)
