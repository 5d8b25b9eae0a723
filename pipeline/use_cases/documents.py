"""Documents: upload, replace, read, retry and delete."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, audit, contents, queue
from pipeline.db.storage import Stored
from pipeline.errors import AccountGone, Conflict
from pipeline.runtime import Runtime
from pipeline.types import (
    Caller,
    Document,
    DocumentList,
    DocumentText,
    ReceivedFile,
    Status,
    Subject,
    SubjectKind,
    new_id,
)
from pipeline.use_cases import quotas, status_changes


async def require_room(runtime: Runtime, caller: Caller, body_bytes: int) -> None:
    """Check that a new document could be accepted, before its body of `body_bytes` (0 if unknown) is received.

    Raises TooManyRequests if too much of the owner's work is unfinished, QuotaExceeded if the owner stores too much.
    """
    async with runtime.database.transaction(caller) as session:
        await quotas.require_room(session, runtime.settings, caller.owner_id, size_bytes=1)
        await quotas.require_storage_for_body(session, runtime.settings, caller.owner_id, body_bytes, Stored(1, 0))


async def require_replaceable(runtime: Runtime, caller: Caller, document_id: UUID, body_bytes: int) -> None:
    """Check that a new version could be accepted, before its body of `body_bytes` (0 if unknown) is received.

    Raises NotFound, TooManyRequests if too much of the owner's work is unfinished, or QuotaExceeded if the owner stores
    too much.
    """
    async with runtime.database.transaction(caller) as session:
        old = await access.get_document(session, caller.owner_id, document_id)
        await quotas.require_room(session, runtime.settings, caller.owner_id, size_bytes=1, replaced=document_id)
        freed = Stored(0, -old.size_bytes)
        await quotas.require_storage_for_body(session, runtime.settings, caller.owner_id, body_bytes, freed)


async def upload(runtime: Runtime, caller: Caller, received: ReceivedFile) -> tuple[Document, bool]:
    """Accept a file for ingestion: store document, bytes, job and audit row in one transaction, then ring.

    Return the document, and whether it existed before: an owner has only one document with the same bytes. If it was
    read as another format or in another character set, it is read again.
    Raises AccountGone if the account does not exist, TooManyRequests if too much of the owner's work is unfinished,
    QuotaExceeded if the owner would store too much.
    """
    try:
        document, is_new = await _add(runtime, caller, received)
    except IntegrityError:
        raise AccountGone from None
    if is_new:
        await runtime.doorbell.ring(document.id)
        return document, False
    async with runtime.database.transaction(caller) as session:
        is_same = await _is_same(session, caller.owner_id, document, received)
    return (document, True) if is_same else await replace(runtime, caller, document.id, received)


async def _add(runtime: Runtime, caller: Caller, received: ReceivedFile) -> tuple[Document, bool]:
    """Store a new document, or find the one with these bytes. Return it, and whether it is new."""
    async with runtime.database.transaction(caller) as session:
        document_id = await access.add_document(session, caller.owner_id, new_id(), received)
        if document_id is None:
            return await access.find_by_hash(session, caller.owner_id, received.sha256), False
        await quotas.require_room(session, runtime.settings, caller.owner_id, received.size_bytes)
        await contents.write_original(session, caller.owner_id, document_id, received.file)
        await queue.enqueue(session, Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id), received.size_bytes)
        await audit.record(session, audit.Event.UPLOAD, caller.owner_id, _describe(document_id, received))
        document = await access.get_document(session, caller.owner_id, document_id)
        await quotas.require_storage(session, runtime.settings, caller.owner_id, Stored(1, received.size_bytes))
    return document, True


async def replace(runtime: Runtime, caller: Caller, document_id: UUID, received: ReceivedFile) -> tuple[Document, bool]:
    """Accept a new version: store row, bytes, job and audit row in one transaction, then ring.

    The old version's passages and text stay searchable until the new version is `ready`. Return the document, and
    whether it already had these bytes and did not change. A failed document is retried even with the same bytes.
    Raises NotFound, Conflict if another document of the owner has these bytes, TooManyRequests if too much of the
    owner's work is unfinished, QuotaExceeded if the owner would store too much.
    """
    subject = Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id)
    async with runtime.database.transaction(caller) as session:
        await queue.lock_subject(session, subject)
        old = await access.get_document(session, caller.owner_id, document_id)
        if old.status != Status.FAILED and await _is_same(session, caller.owner_id, old, received):
            return old, True
        await quotas.require_room(session, runtime.settings, caller.owner_id, received.size_bytes, replaced=document_id)
        await queue.discard(session, subject)
        await access.change_document(session, caller.owner_id, document_id, received)
        await contents.replace_original(session, caller.owner_id, document_id, received.file)
        await queue.renew(session, subject, received.size_bytes)
        details = _describe(document_id, received) | {"replaced_sha256": old.sha256}
        await audit.record(session, audit.Event.UPLOAD, caller.owner_id, details)
        document = await access.get_document(session, caller.owner_id, document_id)
        growth = Stored(0, received.size_bytes - old.size_bytes)
        await quotas.require_storage(session, runtime.settings, caller.owner_id, growth)
    await runtime.doorbell.ring(document_id)
    return document, False


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
    runtime: Runtime, caller: Caller, *, status: Status | None, limit: int, cursor: str | None
) -> DocumentList:
    """Return a page of the owner's documents, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        return await access.list_documents(session, caller.owner_id, status=status, limit=limit, cursor=cursor)


async def delete(runtime: Runtime, caller: Caller, document_id: UUID) -> None:
    """Delete the document with its bytes, text and chunks, whatever its status.

    Raises NotFound.
    """
    async with runtime.database.transaction(caller) as session:
        await access.delete_document(session, caller.owner_id, document_id)
        await audit.record(session, audit.Event.DELETE, caller.owner_id, {"document_id": str(document_id)})


async def retry(runtime: Runtime, caller: Caller, document_id: UUID) -> Document:
    """Queue a failed document again.

    Raises NotFound, or Conflict if the document is not failed.
    """
    async with runtime.database.transaction(caller) as session:
        if not await queue.requeue(session, Subject(caller.owner_id, SubjectKind.DOCUMENT, document_id)):
            document = await access.get_document(session, caller.owner_id, document_id)
            raise Conflict(f"Only failed documents can be retried; this one is {document.status}.", code="not_failed")
        await audit.record(session, audit.Event.RETRY, caller.owner_id, {"document_id": str(document_id)})
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
