"""Collections: create, read, change and delete them, and put documents and notes into them."""

from collections.abc import Collection as Ids
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, audit, collections, queue
from pipeline.db.session import see_account
from pipeline.errors import AccountGone, FieldError, Forbidden, InvalidInput, NotFound
from pipeline.properties import check_metadata
from pipeline.runtime import Runtime
from pipeline.types import (
    Attributes,
    Caller,
    Collection,
    CollectionDocument,
    CollectionDocumentList,
    CollectionList,
    CollectionNote,
    CollectionNoteList,
    Status,
    Subject,
    SubjectKind,
    new_id,
)

MISSING = {SubjectKind.DOCUMENT: access.no_such_document, SubjectKind.NOTE: access.no_such_note}
"""Error for a document or note that the caller does not have."""
DELETED_AT_ONCE = 100
"""Maximum number of documents or notes that one transaction deletes with their collection."""


async def create(
    runtime: Runtime, caller: Caller, *, name: str, description: str, metadata: dict[str, Any]
) -> Collection:
    """Create an empty collection.

    Raises InvalidInput if the metadata cannot be stored, Conflict if the name is taken or the account has too many
    collections, AccountGone, and Forbidden if the caller is bound to collections.
    """
    require_unbound(caller)
    check_metadata(metadata)
    collection_id = new_id()
    try:
        async with runtime.database.transaction(caller) as session:
            await collections.require_room(session, caller.owner_id)
            await collections.add(
                session, caller.owner_id, collection_id, name=name, description=description, metadata=metadata
            )
            await _audit(session, audit.Event.CREATE_COLLECTION, caller, collection_id)
            return await collections.get(session, caller.owner_id, collection_id)
    except IntegrityError:
        raise AccountGone from None


async def get(runtime: Runtime, caller: Caller, collection_id: UUID) -> Collection:
    """Return the caller's collection.

    Raises NotFound.
    """
    async with runtime.database.transaction(caller) as session:
        return await collections.get(session, caller.owner_id, collection_id)


async def find_by_name(runtime: Runtime, caller: Caller, name: str) -> Collection:
    """Return the caller's collection with this name.

    Raises NotFound.
    """
    async with runtime.database.transaction(caller) as session:
        return await collections.find_by_name(session, caller.owner_id, name)


async def list_page(runtime: Runtime, caller: Caller, *, limit: int, cursor: str | None) -> CollectionList:
    """Return a page of the caller's collections, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        return await collections.list_page(session, caller.owner_id, limit=limit, cursor=cursor)


async def change(
    runtime: Runtime,
    caller: Caller,
    collection_id: UUID,
    *,
    name: str | None = None,
    description: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Collection:
    """Change a collection. What is None stays.

    Raises NotFound, InvalidInput if the metadata cannot be stored, Conflict if the name is taken.
    """
    if metadata is not None:
        check_metadata(metadata)
    changes = {"name": name, "description": description, "metadata_": metadata}
    values: dict[str, Any] = {column: value for column, value in changes.items() if value is not None}
    if name is not None:
        values["given_name"] = None
    async with runtime.database.transaction(caller) as session:
        if values:
            await collections.change(session, caller.owner_id, collection_id, **values)
        return await collections.get(session, caller.owner_id, collection_id)


async def delete(runtime: Runtime, caller: Caller, collection_id: UUID, *, delete_contents: bool) -> None:
    """Delete a collection. Its documents and notes stay, unless `delete_contents` is given and no other one has them.

    Many are deleted in several transactions, the collection in the last one. Raises NotFound, and Forbidden if the
    caller is bound to collections.
    """
    require_unbound(caller)
    while True:
        async with runtime.database.transaction(caller) as session:
            await collections.lock(session, caller.owner_id, collection_id)
            subjects = await _find_exclusive(session, caller.owner_id, collection_id) if delete_contents else []
            for subject in subjects:
                with suppress(NotFound):  # another request has just deleted it
                    await _delete_within(session, caller, subject, {collection_id})
            if len(subjects) < DELETED_AT_ONCE:
                await collections.delete_collection(session, caller.owner_id, collection_id)
                await _audit(session, audit.Event.DELETE_COLLECTION, caller, collection_id)
                return


def require_unbound(caller: Caller) -> None:
    """Raise Forbidden if the caller is bound to collections."""
    if caller.collection_ids is not None:
        message = "This API key is bound to collections, so it can neither create nor delete collections."
        raise Forbidden(message, code="bound_key")


async def _find_exclusive(session: AsyncSession, owner_id: UUID, collection_id: UUID) -> list[Subject]:
    found: list[Subject] = []
    for kind in SubjectKind:
        rest = DELETED_AT_ONCE - len(found)
        ids = await collections.find_exclusive(session, owner_id, collection_id, kind, rest)
        found += [Subject(owner_id, kind, subject_id) for subject_id in ids]
    return found


async def delete_subject(session: AsyncSession, caller: Caller, subject: Subject) -> None:
    """Delete a document or note.

    If the caller is bound to collections and the subject is in others, too, it is only taken out of the caller's own.
    Raises NotFound.
    """
    if caller.collection_ids is None:
        await _delete(session, caller, subject)
    else:
        await _delete_within(session, caller, subject, caller.collection_ids)


async def _delete_within(session: AsyncSession, caller: Caller, subject: Subject, collection_ids: Ids[UUID]) -> None:
    """Delete a document or note. If it is in other collections than these, too, only take it out of these.

    Raises NotFound.
    """
    try:
        async with session.begin_nested():
            await queue.discard(session, subject)  # before the row of the subject: the order of locks
            await collections.lock_member(session, subject)
            async with see_account(session, caller):
                if await collections.is_elsewhere(session, subject, collection_ids):
                    raise _IsElsewhereError
            await _delete(session, caller, subject)
    except _IsElsewhereError:
        if not await queue.touch(session, subject):
            missing = MISSING[subject.kind]()
            raise missing from None
        await collections.remove_from(session, subject, collection_ids)


async def _delete(session: AsyncSession, caller: Caller, subject: Subject) -> None:
    if subject.kind == SubjectKind.NOTE:
        await access.delete_note(session, caller.owner_id, subject.id)
    else:
        await access.delete_document(session, caller.owner_id, subject.id)
        await audit.record(session, audit.Event.DELETE, caller, {"document_id": str(subject.id)})


class _IsElsewhereError(Exception):
    """The subject is in collections of others, so it is not deleted."""


async def _audit(session: AsyncSession, event: audit.Event, caller: Caller, collection_id: UUID) -> None:
    await audit.record(session, event, caller, {"collection_id": str(collection_id)})


async def read_attributes(
    runtime: Runtime, caller: Caller, collection_id: UUID, subjects: Ids[Subject]
) -> dict[UUID, Attributes]:
    """Return the attributes of these documents and notes in a collection. Those that are not in it are left out."""
    async with runtime.database.transaction(caller) as session:
        return await collections.read_attributes(session, caller.owner_id, collection_id, subjects)


async def put_document(
    runtime: Runtime, caller: Caller, collection_id: UUID, document_id: UUID, attributes: Attributes | None
) -> CollectionDocument:
    """Put a document into a collection, or replace its attributes there. Without attributes, those it has there stay.

    Raises NotFound if the caller has no such collection or document.
    """
    async with runtime.database.transaction(caller) as session:
        subject = Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id)
        await _put(session, collection_id, subject, attributes, access.no_such_document())
        return await collections.get_document(session, caller.owner_id, collection_id, document_id)


async def put_note(
    runtime: Runtime, caller: Caller, collection_id: UUID, note_id: UUID, attributes: Attributes | None
) -> CollectionNote:
    """Put a note into a collection, or replace its attributes there. Without attributes, those it has there stay.

    Raises NotFound if the caller has no such collection or note.
    """
    async with runtime.database.transaction(caller) as session:
        subject = Subject(caller.owner_id, SubjectKind.NOTE, note_id)
        await _put(session, collection_id, subject, attributes, access.no_such_note())
        return await collections.get_note(session, caller.owner_id, collection_id, note_id)


async def _put(
    session: AsyncSession, collection_id: UUID, subject: Subject, attributes: Attributes | None, missing: NotFound
) -> None:
    if await collections.hold(session, subject.owner_id, [collection_id]):
        raise collections.no_such_collection()
    if not await queue.touch(session, subject):
        raise missing
    await collections.put_member(session, collection_id, subject, attributes)


async def put_into(
    session: AsyncSession, subject: Subject, collection_ids: Ids[UUID], attributes: Attributes | None
) -> None:
    """Put a document or note into collections that `require_all` has checked in the same transaction."""
    for collection_id in sorted(collection_ids):
        await collections.put_member(session, collection_id, subject, attributes)


async def require(session: AsyncSession, owner_id: UUID, collection_id: UUID) -> None:
    """Check that the owner has this collection.

    Raises NotFound.
    """
    await collections.get(session, owner_id, collection_id)


def choose(caller: Caller, collection_ids: Ids[UUID], field: str) -> Ids[UUID]:
    """Return the collections to put a new document or note into: these, or the one to which the caller is bound.

    Raises InvalidInput if the caller is bound to several collections, or to none, and names none.
    """
    if collection_ids or caller.collection_ids is None:
        return collection_ids
    if len(caller.collection_ids) != 1:
        problem = FieldError(field, "is missing")
        message = "This API key is bound to collections. Name one of them."
        raise InvalidInput(message, errors=(problem,))
    return caller.collection_ids


async def require_all(session: AsyncSession, owner_id: UUID, collection_ids: Ids[UUID], field: str) -> None:
    """Check that the owner has these collections, and keep them until the transaction ends.

    Raises InvalidInput, which names the first unknown one in this field.
    """
    unknown = await collections.hold(session, owner_id, collection_ids)
    if unknown:
        problem = FieldError(field, f"names the collection {unknown[0]}, which does not exist")
        raise InvalidInput("This collection does not exist. Check its id.", errors=(problem,))


async def remove_document(runtime: Runtime, caller: Caller, collection_id: UUID, document_id: UUID) -> None:
    """Take a document out of a collection. The document itself stays.

    Raises NotFound if it is not in the collection.
    """
    await _remove(runtime, caller, collection_id, Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id))


async def remove_note(runtime: Runtime, caller: Caller, collection_id: UUID, note_id: UUID) -> None:
    """Take a note out of a collection. The note itself stays.

    Raises NotFound if it is not in the collection.
    """
    await _remove(runtime, caller, collection_id, Subject(caller.owner_id, SubjectKind.NOTE, note_id))


async def _remove(runtime: Runtime, caller: Caller, collection_id: UUID, subject: Subject) -> None:
    async with runtime.database.transaction(caller) as session:
        await queue.touch(session, subject)
        await collections.remove_member(session, collection_id, subject)


async def get_document(runtime: Runtime, caller: Caller, collection_id: UUID, document_id: UUID) -> CollectionDocument:
    """Return a document of a collection, with its attributes there.

    Raises NotFound if it is not in the collection.
    """
    async with runtime.database.transaction(caller) as session:
        return await collections.get_document(session, caller.owner_id, collection_id, document_id)


async def get_note(runtime: Runtime, caller: Caller, collection_id: UUID, note_id: UUID) -> CollectionNote:
    """Return a note of a collection, with its attributes there.

    Raises NotFound if it is not in the collection.
    """
    async with runtime.database.transaction(caller) as session:
        return await collections.get_note(session, caller.owner_id, collection_id, note_id)


async def list_documents(
    runtime: Runtime,
    caller: Caller,
    collection_id: UUID,
    *,
    statuses: Sequence[Status] | None = None,
    limit: int,
    cursor: str | None,
) -> CollectionDocumentList:
    """Return a page of a collection's documents, newest first.

    Raises NotFound if the caller has no such collection, InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        await collections.get(session, caller.owner_id, collection_id)
        return await collections.list_documents(
            session, caller.owner_id, collection_id, statuses=statuses, limit=limit, cursor=cursor
        )


async def list_notes(
    runtime: Runtime, caller: Caller, collection_id: UUID, *, limit: int, cursor: str | None
) -> CollectionNoteList:
    """Return a page of a collection's notes, newest first.

    Raises NotFound if the caller has no such collection, InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        await collections.get(session, caller.owner_id, collection_id)
        return await collections.list_notes(session, caller.owner_id, collection_id, limit=limit, cursor=cursor)
