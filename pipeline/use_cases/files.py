"""Documents, as clients in the format of OpenAI see them."""

from uuid import UUID

from pipeline.db import files
from pipeline.runtime import Runtime
from pipeline.types import Caller, ListPart, ReceivedFile, StoredFile, UploadDetails
from pipeline.use_cases import documents


async def upload(runtime: Runtime, caller: Caller, received: ReceivedFile, purpose: str) -> StoredFile:
    """Accept a file. If the owner has a document with the same bytes, return that one, with the new purpose.

    Raises the errors of `documents.upload`.
    """
    document, _ = await documents.upload(runtime, caller, received, UploadDetails(purpose=purpose))
    return await get(runtime, caller, document.id)


async def get(runtime: Runtime, caller: Caller, document_id: UUID) -> StoredFile:
    """Return the caller's document.

    Raises NotFound.
    """
    async with runtime.database.transaction(caller) as session:
        return await files.get_file(session, caller.owner_id, document_id)


async def list_part(
    runtime: Runtime, caller: Caller, part: ListPart, purpose: str | None
) -> tuple[list[StoredFile], bool]:
    """Return a part of the caller's documents with this purpose, or with any, and whether more follow.

    Raises InvalidInput if the caller has no document next to which the part would begin.
    """
    async with runtime.database.transaction(caller) as session:
        return await files.list_files(session, caller.owner_id, part, purpose)
