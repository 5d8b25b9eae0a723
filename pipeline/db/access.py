"""Rows as their owner may see them: every query names the owner, and a foreign row is as absent as none."""

import base64
import binascii
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import models, queue
from pipeline.errors import FieldError, InvalidInput, NotFound
from pipeline.types import Document, DocumentPageList, Failure, ReceivedFile, Status


def no_such_document() -> NotFound:
    """The one answer to an unknown id and to somebody else's."""
    return NotFound("There is no such document.")


async def get_document(session: AsyncSession, owner_id: UUID, document_id: UUID) -> Document:
    """Return the owner's document.

    Raises NotFound where there is none or it is somebody else's.
    """
    row = await session.get(models.Document, (owner_id, document_id))
    if row is None:
        raise no_such_document()
    return (await _to_documents(session, [row]))[0]


async def add_document(session: AsyncSession, owner_id: UUID, document_id: UUID, received: ReceivedFile) -> UUID | None:
    """Insert a pending document; None where the owner has these bytes already.

    Waits for an upload of the same bytes that is under way. Raises IntegrityError where there is no such owner.
    """
    added: UUID | None = await session.scalar(
        insert(models.Document)
        .values(
            owner_id=owner_id,
            id=document_id,
            filename=received.filename,
            media_type=received.media_type,
            size_bytes=received.size_bytes,
            sha256=received.sha256,
        )
        .on_conflict_do_nothing(index_elements=["owner_id", "sha256"])
        .returning(models.Document.id)
    )
    return added


async def find_by_hash(session: AsyncSession, owner_id: UUID, sha256: bytes) -> Document:
    """Return the owner's document with these bytes.

    Raises NotFound.
    """
    row = await session.scalar(
        select(models.Document).where(models.Document.owner_id == owner_id, models.Document.sha256 == sha256)
    )
    if row is None:
        raise no_such_document()
    return (await _to_documents(session, [row]))[0]


async def list_documents(
    session: AsyncSession, owner_id: UUID, *, status: Status | None, limit: int, cursor: str | None
) -> DocumentPageList:
    """Page of the owner's documents, newest first.

    Raises InvalidInput for a cursor that we did not make.
    """
    query = select(models.Document).where(models.Document.owner_id == owner_id)
    if status is not None:
        query = query.where(models.Document.status == status)
    if cursor is not None:
        query = query.where(models.Document.id < _decode_cursor(cursor))
    rows = (await session.scalars(query.order_by(models.Document.id.desc()).limit(limit + 1))).all()
    items = await _to_documents(session, rows[:limit])
    return DocumentPageList(items, _encode_cursor(items[-1].id) if len(rows) > limit else None)


async def delete_document(session: AsyncSession, owner_id: UUID, document_id: UUID) -> None:
    """Delete the owner's document with all that belongs to it; its worker finds nothing to finish.

    Raises NotFound.
    """
    await queue.discard(session, owner_id, document_id)
    gone = await session.execute(
        delete(models.Document)
        .where(models.Document.owner_id == owner_id, models.Document.id == document_id)
        .returning(models.Document.id)
    )
    if gone.one_or_none() is None:
        raise no_such_document()
    # A retry may have queued it again between the two statements above.
    await queue.discard(session, owner_id, document_id)


async def _to_documents(session: AsyncSession, rows: Sequence[models.Document]) -> list[Document]:
    waiting = [row.id for row in rows if row.status == Status.PENDING]
    positions = await queue.find_positions(session, waiting)
    return [_to_document(row, positions.get(row.id)) for row in rows]


def _to_document(row: models.Document, queue_position: int | None) -> Document:
    error = Failure(row.error_code, row.error_message or "") if row.error_code else None
    return Document(
        id=row.id,
        filename=row.filename,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256.hex(),
        status=Status(row.status),
        error=error,
        pages=row.pages,
        pages_with_text=row.pages_with_text,
        chunks=row.chunks,
        chunks_reused=row.chunks_reused,
        attempts=row.attempts,
        progress=row.progress,
        queue_position=queue_position,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ingested_at=row.ingested_at,
    )


def _encode_cursor(last_id: UUID) -> str:
    return base64.urlsafe_b64encode(last_id.bytes).rstrip(b"=").decode()


def _decode_cursor(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.b64decode(cursor.encode() + b"==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        problem = FieldError("cursor", "is not a cursor of this listing")
        raise InvalidInput("Use the next_cursor of an earlier answer.", errors=(problem,)) from None
