"""What users do with documents."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from pipeline import backpressure, changes
from pipeline.db import access, audit, contents, queue
from pipeline.errors import AccountGone, Conflict
from pipeline.runtime import Runtime
from pipeline.types import Document, DocumentList, DocumentText, ReceivedFile, Status, Subject, SubjectKind, new_id


async def require_room(runtime: Runtime, owner_id: UUID) -> None:
    """Ask before the body of an upload is received whether any file could be accepted.

    Raises TooManyRequests where too much of the owner waits.
    """
    async with runtime.database.transaction(owner_id) as session:
        await backpressure.require_room(session, runtime.settings, owner_id, size_bytes=1)


async def require_replaceable(runtime: Runtime, owner_id: UUID, document_id: UUID) -> None:
    """Ask before the body of a new version is received whether any file could be accepted.

    Raises NotFound, or TooManyRequests where too much of the owner waits.
    """
    async with runtime.database.transaction(owner_id) as session:
        await access.get_document(session, owner_id, document_id)
        await backpressure.require_room(session, runtime.settings, owner_id, size_bytes=1, replaced=document_id)


async def upload(runtime: Runtime, owner_id: UUID, received: ReceivedFile) -> tuple[Document, bool]:
    """Accept a file for ingestion: document, bytes, job and audit row in one transaction, then ring.

    Returns the document and whether it was there already: the same bytes of the same owner are one document.
    Raises NotAuthenticated where the owner has no account any more, TooManyRequests where too much of theirs waits.
    """
    try:
        async with runtime.database.transaction(owner_id) as session:
            document_id = await access.add_document(session, owner_id, new_id(), received)
            if document_id is None:
                existing = await access.find_by_hash(session, owner_id, received.sha256)
                return existing, True
            await backpressure.require_room(session, runtime.settings, owner_id, received.size_bytes)
            await contents.write_original(session, owner_id, document_id, received.file)
            await queue.enqueue(session, Subject(owner_id, SubjectKind.DOCUMENT, document_id), received.size_bytes)
            await audit.record(session, audit.Event.UPLOAD, owner_id, _describe(document_id, received))
            document = await access.get_document(session, owner_id, document_id)
    except IntegrityError:
        raise AccountGone from None
    await runtime.doorbell.ring(document_id)
    return document, False


async def replace(runtime: Runtime, owner_id: UUID, document_id: UUID, received: ReceivedFile) -> tuple[Document, bool]:
    """Accept a new version of a document; the passages and the text of the old one answer until it is ready.

    Returns the document and whether it has these bytes already; then nothing changes, but that a failed one is tried
    again. Raises NotFound, Conflict where another document of the owner has these bytes, TooManyRequests where too
    much of theirs waits.
    """
    async with runtime.database.transaction(owner_id) as session:
        await queue.take_turn(session, Subject(owner_id, SubjectKind.DOCUMENT, document_id))
        old = await access.get_document(session, owner_id, document_id)
        if old.sha256 == received.sha256.hex() and old.status != Status.FAILED:
            return old, True
        await backpressure.require_room(session, runtime.settings, owner_id, received.size_bytes, replaced=document_id)
        await access.change_document(session, owner_id, document_id, received)
        await contents.replace_original(session, owner_id, document_id, received.file)
        details = _describe(document_id, received) | {"replaced_sha256": old.sha256}
        await audit.record(session, audit.Event.UPLOAD, owner_id, details)
        document = await access.get_document(session, owner_id, document_id)
    await runtime.doorbell.ring(document_id)
    return document, False


def _describe(document_id: UUID, received: ReceivedFile) -> dict[str, Any]:
    """How the audit log tells of an upload."""
    return {"document_id": str(document_id), "filename": received.filename, "size_bytes": received.size_bytes}


async def get(runtime: Runtime, owner_id: UUID, document_id: UUID) -> Document:
    """Return the owner's document.

    Raises NotFound.
    """
    async with runtime.database.transaction(owner_id) as session:
        return await access.get_document(session, owner_id, document_id)


async def wait_for_change(runtime: Runtime, owner_id: UUID, document_id: UUID, seconds: float) -> Document:
    """Return the document when its status is another than now, at once if it is terminal, or after `seconds`.

    Raises NotFound, also when it is deleted meanwhile.
    """
    deadline = monotonic() + seconds
    with runtime.changes.watch(document_id) as watch:
        document = await get(runtime, owner_id, document_id)
        first_status = document.status
        while not document.status.is_terminal and document.status == first_status:
            left = deadline - monotonic()
            if left <= 0:
                break
            await watch.next(min(left, changes.POLL_SECONDS))  # the news may be lost
            document = await get(runtime, owner_id, document_id)
    return document


async def list_page(
    runtime: Runtime, owner_id: UUID, *, status: Status | None, limit: int, cursor: str | None
) -> DocumentList:
    """Return a page of the owner's documents, newest first.

    Raises InvalidInput for a foreign cursor.
    """
    async with runtime.database.transaction(owner_id) as session:
        return await access.list_documents(session, owner_id, status=status, limit=limit, cursor=cursor)


async def delete(runtime: Runtime, owner_id: UUID, document_id: UUID) -> None:
    """Delete the document with all that came of it, at any status.

    Raises NotFound.
    """
    async with runtime.database.transaction(owner_id) as session:
        await access.delete_document(session, owner_id, document_id)
        await audit.record(session, audit.Event.DELETE, owner_id, {"document_id": str(document_id)})


async def retry(runtime: Runtime, owner_id: UUID, document_id: UUID) -> Document:
    """Queue a failed document again.

    Raises NotFound, or Conflict where it is not failed.
    """
    async with runtime.database.transaction(owner_id) as session:
        if not await queue.requeue(session, Subject(owner_id, SubjectKind.DOCUMENT, document_id)):
            document = await access.get_document(session, owner_id, document_id)
            raise Conflict(f"Only failed documents can be retried; this one is {document.status}.", code="not_failed")
        await audit.record(session, audit.Event.RETRY, owner_id, {"document_id": str(document_id)})
        document = await access.get_document(session, owner_id, document_id)
    await runtime.doorbell.ring(document_id)
    return document


async def read_content(runtime: Runtime, owner_id: UUID, document: Document) -> AsyncIterator[bytes]:
    """Yield the original bytes of this version, slice by slice, each in a transaction of its own.

    Ends early where the document is deleted or replaced meanwhile.
    """
    sha256 = bytes.fromhex(document.sha256)
    position = 0
    while True:
        async with runtime.database.transaction(owner_id) as session:
            data = await contents.read_slice(session, owner_id, document.id, position, sha256)
        if data is None:
            return
        yield data
        position += 1


async def read_text(runtime: Runtime, owner_id: UUID, document_id: UUID, start: int, end: int | None) -> DocumentText:
    """Return a slice of the text that the passages come from; it is empty until the document is first `ready`.

    Raises NotFound.
    """
    async with runtime.database.transaction(owner_id) as session:
        await access.get_document(session, owner_id, document_id)
        return await contents.read_text(session, owner_id, document_id, start, end)
