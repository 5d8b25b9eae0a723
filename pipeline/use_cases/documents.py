"""What users do with documents."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, BinaryIO
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from pipeline.db import access, audit, contents, queue
from pipeline.errors import (
    AccountGone,
    Conflict,
    FailureCode,
    IngestionError,
    NotFound,
    PageImageFailed,
    PageImageUnavailable,
    translate_full_disk,
)
from pipeline.runtime import Runtime
from pipeline.sandbox.protocol import ProcessLimits
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import Mark, make_mark
from pipeline.types import (
    Document,
    DocumentList,
    DocumentText,
    PageView,
    ReceivedFile,
    Status,
    Subject,
    SubjectKind,
    new_id,
)
from pipeline.use_cases import quotas

PAGE_IMAGE_SECONDS = 10.0
"""Longest that a page may take to draw."""


async def require_room(runtime: Runtime, owner_id: UUID) -> None:
    """Ask before the body of an upload is received whether any file could be accepted.

    Raises TooManyRequests where too much of the owner waits.
    """
    async with runtime.database.transaction(owner_id) as session:
        await quotas.require_room(session, runtime.settings, owner_id, size_bytes=1)


async def require_replaceable(runtime: Runtime, owner_id: UUID, document_id: UUID) -> None:
    """Ask before the body of a new version is received whether any file could be accepted.

    Raises NotFound, or TooManyRequests where too much of the owner waits.
    """
    async with runtime.database.transaction(owner_id) as session:
        await access.get_document(session, owner_id, document_id)
        await quotas.require_room(session, runtime.settings, owner_id, size_bytes=1, replaced=document_id)


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
            await quotas.require_room(session, runtime.settings, owner_id, received.size_bytes)
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
        await queue.lock_subject(session, Subject(owner_id, SubjectKind.DOCUMENT, document_id))
        old = await access.get_document(session, owner_id, document_id)
        if old.sha256 == received.sha256.hex() and old.status != Status.FAILED:
            return old, True
        await quotas.require_room(session, runtime.settings, owner_id, received.size_bytes, replaced=document_id)
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
            await watch.next(min(left, runtime.waits.poll))
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


async def get_with_page_image(runtime: Runtime, owner_id: UUID, document_id: UUID, page: int) -> Document:
    """Return the owner's document, if this page of it can be seen.

    The bytes that are there must be those that passages come from: a new version that is not `ready` yet, or never
    will be, has taken the place of the bytes of the old one, which answers.
    Raises NotFound, or Conflict where they are not.
    """
    document = await get(runtime, owner_id, document_id)
    if get_format(document.media_type).draw is None:
        raise NotFound("There are no pictures of files of this format; read the text.", code="no_picture")
    if document.status != Status.READY:
        message = f"There are pictures of documents that are ready; this one, or its new version, is {document.status}."
        raise Conflict(message, code="no_picture")
    if not 1 <= page <= (document.pages or 0):
        raise _no_such_page(page)
    return document


async def draw_page(runtime: Runtime, owner_id: UUID, document: Document, view: PageView) -> bytes:
    """Return a PNG of the page, drawn from the original bytes.

    Raises NotFound, Conflict if the document has been replaced, PageImageFailed, or PageImageUnavailable if too many
    page images are requested.
    """
    limits = ProcessLimits(PAGE_IMAGE_SECONDS, runtime.settings.extract_memory_bytes)
    async with runtime.drawing_limiter.slot():
        mark = await _find_mark(runtime, owner_id, document.id, view)
        with translate_full_disk(), tempfile.TemporaryFile() as file:
            await _fetch_original(runtime, owner_id, document, file)
            try:
                return await runtime.sandbox.draw(file, document.media_type, limits, view.page, mark)
            except IngestionError as error:
                if error.failure == FailureCode.WORKER_LOST:
                    raise PageImageUnavailable("The process that draws pages was lost. Try again.") from error
                raise PageImageFailed(f"This page cannot be drawn. {error.message}") from error


def _no_such_page(page: int) -> NotFound:
    return NotFound(f"The document has no page {page}.")


async def _find_mark(runtime: Runtime, owner_id: UUID, document_id: UUID, view: PageView) -> Mark | None:
    if view.start is None and view.end is None:
        return None
    async with runtime.database.transaction(owner_id) as session:
        page = await contents.read_page(session, owner_id, document_id, view.page)
    if page is None:
        raise _no_such_page(view.page)
    start = max(0, (view.start or 0) - page.start)
    end = len(page.text) if view.end is None else max(0, view.end - page.start)
    return await asyncio.to_thread(make_mark, page.text, start, end)


async def _fetch_original(runtime: Runtime, owner_id: UUID, document: Document, file: BinaryIO) -> None:
    async for data in read_content(runtime, owner_id, document):
        await asyncio.to_thread(file.write, data)
    if file.tell() < document.size_bytes:
        raise Conflict("The document was replaced or deleted meanwhile.", code="no_picture")
    file.flush()
