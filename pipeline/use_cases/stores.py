"""Collections and their documents, as clients in the format of OpenAI see them.

There, several stores may have the same name, or none. So a collection gets another name if its own is taken, and keeps
the given one beside it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, audit, collections, contents, queue, stores
from pipeline.db.session import see_account
from pipeline.errors import AccountGone, Conflict
from pipeline.properties import check_metadata
from pipeline.runtime import Runtime
from pipeline.types import Attributes, Caller, ListPart, Store, StoreFile, Subject, SubjectKind, new_id
from pipeline.use_cases import status_changes
from pipeline.use_cases.collections import require_unbound


async def create(
    runtime: Runtime,
    caller: Caller,
    *,
    name: str,
    description: str,
    metadata: dict[str, Any],
    files: Mapping[UUID, Attributes | None],
) -> Store:
    """Create a collection with these documents.

    Raises InvalidInput if the metadata cannot be stored, NotFound if a document does not exist, Conflict if the account
    has too many collections, AccountGone, and Forbidden if the caller is bound to collections.
    """
    require_unbound(caller)
    check_metadata(metadata)
    collection_id = new_id()
    try:
        async with runtime.database.transaction(caller) as session:
            await collections.require_room(session, caller.owner_id)
            await _add(session, caller, collection_id, name, description=description, metadata=metadata)
            await audit.record(session, audit.Event.CREATE_COLLECTION, caller, {"collection_id": str(collection_id)})
            await put_files(session, caller, collection_id, files)
            return await stores.get_store(session, caller.owner_id, collection_id)
    except IntegrityError:
        raise AccountGone from None


async def _add(session: AsyncSession, caller: Caller, collection_id: UUID, given: str, **values: Any) -> None:
    while True:
        name = await stores.find_free_name(session, caller.owner_id, given)
        kept = None if given == name else given
        try:
            await collections.add(session, caller.owner_id, collection_id, name=name, given_name=kept, **values)
        except Conflict:
            continue  # another request has just taken the name
        return


async def get(runtime: Runtime, caller: Caller, collection_id: UUID) -> Store:
    """Return the caller's collection.

    Raises NotFound.
    """
    async with runtime.database.transaction(caller) as session:
        return await stores.get_store(session, caller.owner_id, collection_id)


async def list_part(runtime: Runtime, caller: Caller, part: ListPart) -> tuple[list[Store], bool]:
    """Return a part of the caller's collections, and whether more follow.

    Raises InvalidInput if the caller has no collection next to which the part would begin.
    """
    async with runtime.database.transaction(caller) as session:
        return await stores.list_stores(session, caller.owner_id, part)


async def change(
    runtime: Runtime,
    caller: Caller,
    collection_id: UUID,
    *,
    name: str | UnsetType = UNSET,
    metadata: dict[str, Any] | UnsetType = UNSET,
) -> Store:
    """Change a collection. What is not given stays.

    Raises NotFound, InvalidInput if the metadata cannot be stored.
    """
    if metadata is not UNSET:
        check_metadata(metadata)
    while True:
        try:
            async with runtime.database.transaction(caller) as session:
                values: dict[str, Any] = {} if metadata is UNSET else {"metadata_": metadata}
                if name is not UNSET:
                    # A name is also taken by a collection that the caller cannot see.
                    async with see_account(session, caller):
                        free = await stores.find_free_name(session, caller.owner_id, name, renamed=collection_id)
                    values |= {"name": free, "given_name": None if free == name else name}
                if values:
                    await collections.change(session, caller.owner_id, collection_id, **values)
                return await stores.get_store(session, caller.owner_id, collection_id)
        except Conflict:
            continue  # another request has just taken the name


async def put_files(
    session: AsyncSession, caller: Caller, collection_id: UUID, files: Mapping[UUID, Attributes | None]
) -> None:
    """Put documents into a collection, or replace their attributes there. Without attributes, those they have stay.

    Raises NotFound if the caller has no such collection, or not all of the documents.
    """
    if await collections.hold(session, caller.owner_id, [collection_id]):
        raise collections.no_such_collection()
    if await collections.put_documents(session, caller.owner_id, collection_id, files):
        raise access.no_such_document()


async def put_file(
    runtime: Runtime, caller: Caller, collection_id: UUID, document_id: UUID, attributes: Attributes | None
) -> StoreFile:
    """Put a document into a collection, or replace its attributes there. Without attributes, those it has there stay.

    Raises NotFound if the caller has no such collection or document.
    """
    async with runtime.database.transaction(caller) as session:
        await put_files(session, caller, collection_id, {document_id: attributes})
        return await stores.get_store_file(session, caller.owner_id, collection_id, document_id)


async def change_file(
    runtime: Runtime, caller: Caller, collection_id: UUID, document_id: UUID, attributes: Attributes
) -> StoreFile:
    """Replace the attributes of a document in a collection.

    Raises NotFound if it is not in the collection.
    """
    async with runtime.database.transaction(caller) as session:
        subject = Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id)
        await queue.touch(session, subject)
        await collections.change_document(session, collection_id, subject, attributes)
        return await stores.get_store_file(session, caller.owner_id, collection_id, document_id)


async def get_file(runtime: Runtime, caller: Caller, collection_id: UUID, document_id: UUID) -> StoreFile:
    """Return a document of a collection.

    Raises NotFound if it is not in the collection.
    """
    async with runtime.database.transaction(caller) as session:
        return await stores.get_store_file(session, caller.owner_id, collection_id, document_id)


async def wait_for_file(
    runtime: Runtime, caller: Caller, collection_id: UUID, document_id: UUID, seconds: float
) -> StoreFile:
    """Return a document of a collection when it is `ready` or `failed`, or after `seconds`.

    Raises NotFound if it is not in the collection, or no longer.
    """
    read = partial(get_file, runtime, caller, collection_id, document_id)
    return await status_changes.wait_until(runtime, document_id, read, lambda file: file.status.is_terminal, seconds)


async def list_files(
    runtime: Runtime, caller: Caller, collection_id: UUID, part: ListPart, state: str | None
) -> tuple[list[StoreFile], bool]:
    """Return a part of a collection's documents in this state, or in any, and whether more follow.

    Raises NotFound if the caller has no such collection, InvalidInput if the collection has no document next to which
    the part would begin.
    """
    async with runtime.database.transaction(caller) as session:
        await collections.get(session, caller.owner_id, collection_id)
        return await stores.list_store_files(session, caller.owner_id, collection_id, part, state)


async def read_text(
    runtime: Runtime, caller: Caller, collection_id: UUID, document_id: UUID
) -> AsyncIterator[Sequence[str]]:
    """Yield the texts of a document's pages, some at a time. A page of more than a million characters is cut.

    Raises NotFound if it is not in the collection, or no longer, and Conflict if a new version replaces the text.
    """
    position = 0
    version: datetime | None = None
    while True:
        async with runtime.database.transaction(caller) as session:
            await stores.get_store_file(session, caller.owner_id, collection_id, document_id)
            document = await access.get_document(session, caller.owner_id, document_id)
            pieces = await contents.read_pieces(session, caller.owner_id, document_id, position, None)
        if position and document.ingested_at != version:
            raise Conflict("The text was replaced meanwhile. Read it again.", code="replaced")
        version = document.ingested_at
        yield pieces.texts
        position = pieces.end
        if position >= pieces.length:
            return
