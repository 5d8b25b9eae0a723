"""Documents: upload, replace, read, retry and delete."""

from collections.abc import AsyncIterator
from collections.abc import Collection as Ids
from contextlib import suppress
from dataclasses import replace as replace_fields
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, audit, contents, queue
from pipeline.db.listing import list_documents
from pipeline.db.storage import Stored
from pipeline.errors import AccountGone, Conflict, FieldError, InvalidInput, NotFound
from pipeline.properties import check_metadata
from pipeline.runtime import Runtime
from pipeline.settings import Settings
from pipeline.types import (
    Caller,
    Deletions,
    Document,
    DocumentList,
    DocumentText,
    Listing,
    ReceivedFile,
    Status,
    Subject,
    SubjectKind,
    UploadDetails,
    new_id,
)
from pipeline.use_cases import collections, quotas, status_changes
from pipeline.use_cases.uploads import clean_filename

NO_DETAILS = UploadDetails()
ALL = Listing()
DELETED_AT_ONCE = 100
"""Maximum number of documents that one transaction deletes."""


async def require_room(runtime: Runtime, caller: Caller, body_bytes: int) -> None:
    """Check that a new document could be accepted, before its body of `body_bytes` (0 if unknown) is received.

    Raises TooManyRequests if too much of the owner's work is unfinished, QuotaExceeded if the owner stores too much.
    """
    async with runtime.database.transaction(caller) as session:
        await quotas.require_room(session, runtime.settings, caller.owner_id, size_bytes=1)
        await quotas.require_storage_for_body(session, runtime.settings, caller, body_bytes, Stored(1, 0))


async def require_replaceable(runtime: Runtime, caller: Caller, document_id: UUID, body_bytes: int) -> None:
    """Check that a new version could be accepted, before its body of `body_bytes` (0 if unknown) is received.

    Raises NotFound, TooManyRequests if too much of the owner's work is unfinished, or QuotaExceeded if the owner stores
    too much.
    """
    async with runtime.database.transaction(caller) as session:
        old = await access.get_document(session, caller.owner_id, document_id)
        await quotas.require_room(session, runtime.settings, caller.owner_id, size_bytes=1, replaced=document_id)
        freed = Stored(0, -old.size_bytes)
        await quotas.require_storage_for_body(session, runtime.settings, caller, body_bytes, freed)


async def upload(
    runtime: Runtime, caller: Caller, received: ReceivedFile, details: UploadDetails = NO_DETAILS
) -> tuple[Document, bool]:
    """Accept a file for ingestion: store document, bytes, job and audit row in one transaction, then ring.

    Return the document, and whether its content existed before. An owner has only one document with the same bytes. If
    it was read as another format or in another character set, it is read again. If a document has the external id, the
    file becomes its new version. What the upload says about the file is stored in any case.
    Raises AccountGone if the account does not exist, InvalidInput if something that the upload says is not valid,
    Conflict if a document with another external id, or one that the caller cannot see, has these bytes or this
    external id, TooManyRequests if too much of the owner's work is unfinished, QuotaExceeded if the owner would store
    too much.
    """
    if details.metadata is not None:
        check_metadata(details.metadata)
    chosen = collections.choose(caller, details.collection_ids, "collection_id")
    if details.attributes and not chosen:
        problem = FieldError("attributes", "needs a `collection_id`")
        raise InvalidInput("Attributes belong to a collection. Name one as `collection_id`.", errors=(problem,))
    details = replace_fields(details, collection_ids=chosen)
    try:
        async with runtime.database.transaction(caller) as session:
            await collections.require_all(session, caller.owner_id, chosen, "collection_id")
            if details.external_id is not None:
                await access.lock_external_id(session, caller.owner_id, details.external_id)
            document, is_queued = await _store(session, runtime.settings, caller, received, details)
    except IntegrityError:
        raise AccountGone from None
    if is_queued:
        await runtime.doorbell.ring(document.id)
    return document, not is_queued


async def _store(
    session: AsyncSession, settings: Settings, caller: Caller, received: ReceivedFile, details: UploadDetails
) -> tuple[Document, bool]:
    """Store a new document, or change the existing one. Return it, and whether it is queued."""
    while True:
        document_id = new_id()
        known = await _find_known(session, caller.owner_id, details)
        if known is None:
            if await access.add_document(session, caller.owner_id, document_id, received, details):
                return await _complete(session, settings, caller, document_id, received, details), True
            known = await access.find_by_hash(session, caller.owner_id, received.sha256)
            if known is None and caller.collection_ids is not None:
                raise access.same_bytes(None)
        old = await _lock(session, caller.owner_id, known) if known else None
        if old is None:
            continue  # it has just been deleted
        if old.external_id == details.external_id is not None or old.sha256 == received.sha256.hex():
            return await _change(session, settings, caller, old, received, details)
        # It has just got other bytes.


async def _find_known(session: AsyncSession, owner_id: UUID, details: UploadDetails) -> UUID | None:
    """Return the document that the upload names, or None."""
    if details.external_id is None:
        return None
    return await access.find_by_external_id(session, owner_id, details.external_id)


async def _lock(session: AsyncSession, owner_id: UUID, document_id: UUID) -> Document | None:
    await queue.lock_subject(session, Subject(owner_id, SubjectKind.DOCUMENT, document_id))
    with suppress(NotFound):
        return await access.get_document(session, owner_id, document_id)
    return None


async def _complete(
    session: AsyncSession,
    settings: Settings,
    caller: Caller,
    document_id: UUID,
    received: ReceivedFile,
    details: UploadDetails,
) -> Document:
    """Store what belongs to a new document, and queue it."""
    subject = Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id)
    await quotas.require_room(session, settings, caller.owner_id, received.size_bytes)
    await collections.put_into(session, subject, details.collection_ids, details.attributes)
    await contents.write_original(session, caller.owner_id, document_id, received.file)
    await queue.enqueue(session, subject, received.size_bytes)
    await audit.record(session, audit.Event.UPLOAD, caller, _describe(document_id, received))
    document = await access.get_document(session, caller.owner_id, document_id)
    await quotas.require_storage(session, settings, caller, Stored(1, received.size_bytes))
    return document


async def _change(
    session: AsyncSession,
    settings: Settings,
    caller: Caller,
    old: Document,
    received: ReceivedFile,
    details: UploadDetails,
) -> tuple[Document, bool]:
    """Store what an upload says about a locked document, and its content if that is new. Return it, and the latter."""
    if details.external_id is not None and old.external_id not in (None, details.external_id):
        raise access.same_bytes(old.id)
    subject = Subject(caller.owner_id, SubjectKind.DOCUMENT, old.id)
    said = {"metadata_": details.metadata, "external_id": details.external_id, "purpose": details.purpose}
    if details.external_id is not None:
        said["filename"] = received.filename
    values = {name: value for name, value in said.items() if value is not None}
    if values or details.collection_ids:
        await queue.touch(session, subject)
    if values:
        await access.describe_document(session, caller.owner_id, old.id, **values)
    await collections.put_into(session, subject, details.collection_ids, details.attributes)
    is_new = await _replace_content(session, settings, caller, old, received)
    return await access.get_document(session, caller.owner_id, old.id), is_new


async def replace(runtime: Runtime, caller: Caller, document_id: UUID, received: ReceivedFile) -> tuple[Document, bool]:
    """Accept a new version: store row, bytes, job and audit row in one transaction, then ring.

    The old version's passages and text stay searchable until the new version is `ready`. Return the document, and
    whether it already had these bytes and did not change. A failed document is retried even with the same bytes.
    Raises NotFound, Conflict if another document of the owner has these bytes, TooManyRequests if too much of the
    owner's work is unfinished, QuotaExceeded if the owner would store too much.
    """
    async with runtime.database.transaction(caller) as session:
        old = await _lock(session, caller.owner_id, document_id)
        if old is None:
            raise access.no_such_document()
        is_new = await _replace_content(session, runtime.settings, caller, old, received)
        document = await access.get_document(session, caller.owner_id, document_id)
    if is_new:
        await runtime.doorbell.ring(document_id)
    return document, not is_new


async def _replace_content(
    session: AsyncSession, settings: Settings, caller: Caller, old: Document, received: ReceivedFile
) -> bool:
    """Replace the content of a locked document, and queue it. Return False if it has this content already."""
    owner_id = caller.owner_id
    if old.status != Status.FAILED and await _is_same(session, owner_id, old, received):
        return False
    subject = Subject(owner_id, SubjectKind.DOCUMENT, old.id)
    await quotas.require_room(session, settings, owner_id, received.size_bytes, replaced=old.id)
    await queue.discard(session, subject)
    await access.change_document(session, owner_id, old.id, received)
    await contents.replace_original(session, owner_id, old.id, received.file)
    await queue.renew(session, subject, received.size_bytes)
    details = _describe(old.id, received) | {"replaced_sha256": old.sha256}
    await audit.record(session, audit.Event.UPLOAD, caller, details)
    await quotas.require_storage(session, settings, caller, Stored(0, received.size_bytes - old.size_bytes))
    return True


async def change(
    runtime: Runtime,
    caller: Caller,
    document_id: UUID,
    *,
    filename: str | None = None,
    metadata: dict[str, Any] | None = None,
    external_id: str | UnsetType | None = UNSET,
) -> Document:
    """Change the name, the metadata or the external id of a document. Its content and its passages stay.

    Raises NotFound, InvalidInput if the name or the metadata is not valid, Conflict if another document has the
    external id.
    """
    values: dict[str, Any] = {}
    if filename is not None:
        values["filename"] = clean_filename(filename, "filename")
    if metadata is not None:
        check_metadata(metadata)
        values["metadata_"] = metadata
    if external_id is not UNSET:
        values["external_id"] = external_id
    async with runtime.database.transaction(caller) as session:
        if isinstance(external_id, str):
            await access.lock_external_id(session, caller.owner_id, external_id)
        old = await _lock(session, caller.owner_id, document_id)
        if old is None:
            raise access.no_such_document()
        if not values:
            return old
        await queue.touch(session, Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id))
        await access.describe_document(session, caller.owner_id, document_id, **values)
        changed = sorted(name.rstrip("_") for name in values)
        details = {"document_id": str(document_id), "changed": changed}
        await audit.record(session, audit.Event.UPDATE, caller, details)
        return await access.get_document(session, caller.owner_id, document_id)


async def _is_same(session: AsyncSession, owner_id: UUID, document: Document, received: ReceivedFile) -> bool:
    """Return True if a document has the bytes, the format and the declared character set of an upload."""
    charset = await access.get_charset(session, owner_id, document.id)
    known = (document.sha256, document.media_type, charset)
    return known == (received.sha256.hex(), received.media_type, received.charset)


def _describe(document_id: UUID, received: ReceivedFile) -> dict[str, Any]:
    """Return the audit details of an upload."""
    return {"document_id": str(document_id), "filename": received.filename, "size_bytes": received.size_bytes}


async def get(runtime: Runtime, caller: Caller, document_id: UUID) -> Document:
    """Return the owner's document.

    Raises NotFound.
    """
    async with runtime.database.transaction(caller) as session:
        return await access.get_document(session, caller.owner_id, document_id)


async def wait_for_change(runtime: Runtime, caller: Caller, document_id: UUID, seconds: float) -> Document:
    """Return the document when its status changes, or after `seconds`. Return a terminal document at once.

    Raises NotFound, also if the document is deleted meanwhile.
    """
    return await status_changes.wait(runtime, document_id, partial(get, runtime, caller, document_id), seconds)


async def list_page(
    runtime: Runtime, caller: Caller, listing: Listing = ALL, *, limit: int, cursor: str | None
) -> DocumentList:
    """Return a page of the caller's documents. Accounts take turns: a filter may judge every document.

    Raises InvalidInput if the cursor is malformed or belongs to another order, NotFound if the caller has no such
    collection, Overloaded if too many lists and searches wait.
    """
    turn = runtime.statement_queue.turn(str(caller.owner_id))
    async with turn, runtime.database.transaction(caller) as session:
        for collection_id in listing.selection.collection_ids or ():
            await collections.require(session, caller.owner_id, collection_id)
        return await list_documents(session, caller, listing, limit=limit, cursor=cursor)


async def delete(runtime: Runtime, caller: Caller, document_id: UUID) -> None:
    """Delete the document with its bytes, text and chunks, whatever its status.

    A caller that is bound to collections only takes it out of them if it is in others, too. Raises NotFound.
    """
    async with runtime.database.transaction(caller) as session:
        await collections.delete_subject(session, caller, Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id))


async def delete_all(runtime: Runtime, caller: Caller, document_ids: Ids[UUID]) -> Deletions:
    """Delete these documents. Return which were deleted, and which do not exist.

    Many are deleted in several transactions, so an interrupted request is to be repeated.
    """
    deletions = Deletions([], [])
    ids = sorted(set(document_ids))
    for first in range(0, len(ids), DELETED_AT_ONCE):
        deleted, not_found = await _delete_batch(runtime, caller, ids[first : first + DELETED_AT_ONCE])
        deletions.deleted.extend(deleted)
        deletions.not_found.extend(not_found)
    return deletions


async def _delete_batch(runtime: Runtime, caller: Caller, ids: Ids[UUID]) -> tuple[list[UUID], list[UUID]]:
    deleted: list[UUID] = []
    async with runtime.database.transaction(caller) as session:
        for document_id in ids:
            subject = Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id)
            with suppress(NotFound):
                await collections.delete_subject(session, caller, subject)
                deleted.append(document_id)
    return deleted, sorted(set(ids) - set(deleted))


async def retry(runtime: Runtime, caller: Caller, document_id: UUID) -> Document:
    """Queue a failed document again.

    Raises NotFound, or Conflict if the document is not failed.
    """
    async with runtime.database.transaction(caller) as session:
        if not await queue.requeue(session, Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id)):
            document = await access.get_document(session, caller.owner_id, document_id)
            raise Conflict(f"Only failed documents can be retried; this one is {document.status}.", code="not_failed")
        await audit.record(session, audit.Event.RETRY, caller, {"document_id": str(document_id)})
        document = await access.get_document(session, caller.owner_id, document_id)
    await runtime.doorbell.ring(document_id)
    return document


async def open_content(runtime: Runtime, caller: Caller, document_id: UUID) -> tuple[Document, AsyncIterator[bytes]]:
    """Return the document and the original bytes of this version. The first slice is already read.

    The bytes end early if the document is deleted or replaced later.
    Raises NotFound, or Conflict if the document is replaced before the first slice is read.
    """
    document = await get(runtime, caller, document_id)
    slices = read_content(runtime, caller, document)
    first = await anext(slices, None)
    if first is None:
        await get(runtime, caller, document_id)  # raises NotFound if it was deleted
        raise Conflict("The document was replaced meanwhile. Try again.", code="replaced")
    return document, _prepend(first, slices)


async def _prepend(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for data in rest:
        yield data


async def read_content(runtime: Runtime, caller: Caller, document: Document) -> AsyncIterator[bytes]:
    """Yield the original bytes of this version, slice by slice, each in its own transaction.

    Ends early if the document is deleted or replaced meanwhile.
    """
    sha256 = bytes.fromhex(document.sha256)
    position = 0
    while True:
        async with runtime.database.transaction(caller) as session:
            data = await contents.read_slice(session, caller.owner_id, document.id, position, sha256)
        if data is None:
            return
        yield data
        position += 1


async def read_text(runtime: Runtime, caller: Caller, document_id: UUID, start: int, end: int | None) -> DocumentText:
    """Return a slice of the text that passages come from. It is empty until the document is first `ready`.

    Raises NotFound.
    """
    async with runtime.database.transaction(caller) as session:
        await access.get_document(session, caller.owner_id, document_id)
        return await contents.read_text(session, caller.owner_id, document_id, start, end)
