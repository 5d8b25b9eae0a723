"""Documents, notes and audit entries, as their owner may see and change them.

Every query names the owner. Another user's row is treated like one that does not exist: both raise NotFound.
`queue` writes the status of documents and notes, and defines the order of locks.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, defer

from pipeline.db import deliveries, models, queue
from pipeline.db.models import Ingested
from pipeline.errors import Conflict, FieldError, InvalidInput, NotFound
from pipeline.types import (
    AuditEntry,
    AuditList,
    Document,
    DocumentWarning,
    Failure,
    Note,
    NoteList,
    NoteState,
    ReceivedFile,
    Status,
    Subject,
    SubjectKind,
    UploadDetails,
    WebhookEvent,
)

Positions = Mapping[bytes, int]
"""Queue positions by the 16 bytes of the documents' ids."""
NO_POSITIONS: Positions = {}

MAX_NOTES_PAGE_BYTES = 1024 * 1024
"""Longest texts of a page of notes, in bytes of UTF-8. A page has one note at least."""
Row = TypeVar(
    "Row",
    models.Document,
    models.AuditLog,
    models.Collection,
    models.ApiKey,
    models.Webhook,
    models.WebhookDelivery,
)


def no_such_document() -> NotFound:
    """Return the error for an unknown id and for another user's document."""
    return NotFound("This document does not exist. Check its id.")


def no_such_note() -> NotFound:
    """Return the error for an unknown id and for another user's note."""
    return NotFound("This note does not exist. Check its id.")


async def get_document(
    session: AsyncSession, owner_id: UUID, document_id: UUID, positions: Positions = NO_POSITIONS
) -> Document:
    """Return the owner's document. Its queue position is counted, unless it is among `positions`.

    Raises NotFound if it does not exist or belongs to another user.
    """
    query = select(models.Document).where(models.Document.owner_id == owner_id, models.Document.id == document_id)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise no_such_document()
    return (await to_documents(session, [row], positions))[0]


async def get_charset(session: AsyncSession, owner_id: UUID, document_id: UUID) -> str | None:
    """Return the label of the character set that the upload of a document declared, or None."""
    query = select(models.Document.charset).where(
        models.Document.owner_id == owner_id, models.Document.id == document_id
    )
    charset: str | None = await session.scalar(query)
    return charset


async def add_document(
    session: AsyncSession, owner_id: UUID, document_id: UUID, received: ReceivedFile, details: UploadDetails
) -> bool:
    """Insert a pending document. Return False if the owner already has one with these bytes or this external id.

    Waits for a concurrent upload of the same bytes. Raises IntegrityError if the owner does not exist.
    """
    # Without RETURNING, because a caller that is bound to collections does not see the document yet.
    added = await (await session.connection()).execute(
        insert(models.Document)
        .values(
            {
                models.Document.owner_id: owner_id,
                models.Document.id: document_id,
                models.Document.filename: received.filename,
                models.Document.media_type: received.media_type,
                models.Document.charset: received.charset,
                models.Document.size_bytes: received.size_bytes,
                models.Document.sha256: received.sha256,
                models.Document.metadata_: details.metadata or {},
                models.Document.external_id: details.external_id,
                models.Document.purpose: details.purpose,
            }
        )
        .on_conflict_do_nothing()
    )
    return added.rowcount == 1


async def lock_external_id(session: AsyncSession, owner_id: UUID, external_id: str) -> None:
    """Let no other transaction give this external id to a document of the owner, until this one ends."""
    key = func.hashtextextended(f"external id {owner_id} {external_id}", 0)
    await session.execute(select(func.pg_advisory_xact_lock(key)))


async def find_by_external_id(session: AsyncSession, owner_id: UUID, external_id: str) -> UUID | None:
    """Return the id of the owner's document with this external id, or None."""
    query = select(models.Document.id).where(
        models.Document.owner_id == owner_id, models.Document.external_id == external_id
    )
    found: UUID | None = await session.scalar(query)
    return found


async def describe_document(session: AsyncSession, owner_id: UUID, document_id: UUID, **values: Any) -> None:
    """Change columns of the owner's document that are not about its content.

    Raises Conflict if another document of the owner has the external id.
    """
    change = update(models.Document).where(models.Document.owner_id == owner_id, models.Document.id == document_id)
    try:
        async with session.begin_nested():
            await session.execute(change.values(**values))
    except IntegrityError:
        message = "Another document has this external id. Choose another one, or change that document first."
        raise Conflict(message, code="external_id_taken") from None


async def change_document(session: AsyncSession, owner_id: UUID, document_id: UUID, received: ReceivedFile) -> None:
    """Update the owner's document to describe this file. The caller stores the bytes and queues the document.

    Raises NotFound, or Conflict if another document of the owner has these bytes.
    """
    change = (
        update(models.Document)
        .where(models.Document.owner_id == owner_id, models.Document.id == document_id)
        .values(
            filename=received.filename,
            media_type=received.media_type,
            charset=received.charset,
            size_bytes=received.size_bytes,
            sha256=received.sha256,
        )
        .returning(models.Document.id)
    )
    try:
        async with session.begin_nested():
            exists = await session.scalar(change)
    except IntegrityError:
        raise same_bytes(await find_by_hash(session, owner_id, received.sha256)) from None
    if not exists:
        raise no_such_document()


async def find_by_hash(session: AsyncSession, owner_id: UUID, sha256: bytes) -> UUID | None:
    """Return the id of the owner's document with these bytes, or None."""
    found: UUID | None = await session.scalar(
        select(models.Document.id).where(models.Document.owner_id == owner_id, models.Document.sha256 == sha256)
    )
    return found


def same_bytes(document_id: UUID | None) -> Conflict:
    """Return the error for bytes that another document has. None means one that the caller cannot see."""
    which = f"Your document {document_id}" if document_id else "A document outside your collections"
    message = f"{which} already has these bytes. Delete it first, or keep both as they are."
    return Conflict(message, code="duplicate_content")


async def delete_document(session: AsyncSession, owner_id: UUID, document_id: UUID) -> None:
    """Delete the owner's document with its bytes, text, chunks and jobs. A worker that processes it loses its lease.

    Raises NotFound if it does not exist or belongs to another user.
    """
    if not await _delete(session, Subject(owner_id, SubjectKind.DOCUMENT, document_id)):
        raise no_such_document()


async def add_note(session: AsyncSession, owner_id: UUID, note_id: UUID, title: str, body: str) -> None:
    """Insert a pending note.

    Raises IntegrityError if the owner does not exist.
    """
    await session.execute(insert(models.Note).values(owner_id=owner_id, id=note_id, title=title, body=body))


async def get_note(session: AsyncSession, owner_id: UUID, note_id: UUID) -> Note:
    """Return the owner's note.

    Raises NotFound if it does not exist or belongs to another user.
    """
    query = select(models.Note).where(models.Note.owner_id == owner_id, models.Note.id == note_id)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise no_such_note()
    return to_note(row)


async def list_notes(session: AsyncSession, owner_id: UUID, *, limit: int, cursor: str | None) -> NoteList:
    """Return a page of the owner's notes, newest first, with at most 1 MiB of texts if there are several.

    Raises InvalidInput if the cursor is malformed.
    """
    query = select(models.Note.id, models.Note.size_bytes).where(models.Note.owner_id == owner_id)
    shown, next_cursor = await choose_notes(session, query, limit, cursor)
    notes = select(models.Note).where(models.Note.owner_id == owner_id, models.Note.id.in_(shown))
    rows = await session.scalars(notes.order_by(models.Note.id.desc()))
    return NoteList([to_note(row) for row in rows], next_cursor)


async def choose_notes(
    session: AsyncSession, query: Select[UUID, int], limit: int, cursor: str | None
) -> tuple[list[UUID], str | None]:
    """Return the ids of a page of notes, and the cursor of the next page. `query` selects ids and sizes.

    Raises InvalidInput if the cursor is malformed.
    """
    if cursor is not None:
        query = query.where(models.Note.id < decode_cursor(cursor))
    found = (await session.execute(query.order_by(models.Note.id.desc()).limit(limit + 1))).all()
    shown = [row.id for row in found[: min(limit, _count_fitting([row.size_bytes for row in found]))]]
    return shown, encode_cursor(shown[-1]) if len(shown) < len(found) else None


def _count_fitting(sizes: Sequence[int]) -> int:
    """Return how many of the notes fit on a page, at least one."""
    fitting = sum(total <= MAX_NOTES_PAGE_BYTES for total in accumulate(sizes))
    return max(fitting, min(1, len(sizes)))


async def change_note(session: AsyncSession, owner_id: UUID, note_id: UUID, **texts: str) -> None:
    """Replace the title, the body or both of the owner's note. The caller queues it.

    Raises NotFound if it does not exist or belongs to another user.
    """
    is_owned = (models.Note.owner_id == owner_id, models.Note.id == note_id)
    if not await session.scalar(update(models.Note).where(*is_owned).values(**texts).returning(models.Note.id)):
        raise no_such_note()


async def delete_note(session: AsyncSession, owner_id: UUID, note_id: UUID) -> None:
    """Delete the owner's note with its chunks and jobs. A worker that processes it loses its lease.

    Raises NotFound if it does not exist or belongs to another user.
    """
    if not await _delete(session, Subject(owner_id, SubjectKind.NOTE, note_id)):
        raise no_such_note()


async def read_clock(session: AsyncSession) -> datetime:
    """Return the database's time, the clock of `updated_at`."""
    now: datetime = (await session.scalars(select(func.clock_timestamp()))).one()
    return now


async def list_states(
    session: AsyncSession, owner_id: UUID, subjects: Collection[Subject], positions: Positions
) -> dict[Subject, Document | NoteState]:
    """Return the states of these documents and notes. Those that do not exist or are not the owner's are left out.

    Queue positions are counted for those that are not among `positions`.
    """
    ids = {kind: [subject.id for subject in subjects if subject.kind == kind] for kind in SubjectKind}
    documents = select(models.Document).where(
        models.Document.owner_id == owner_id, models.Document.id.in_(ids[SubjectKind.DOCUMENT])
    )
    notes = (
        select(models.Note)
        .where(models.Note.owner_id == owner_id, models.Note.id.in_(ids[SubjectKind.NOTE]))
        .options(defer(models.Note.body))
    )
    states: list[Document | NoteState] = [
        *await to_documents(session, (await session.scalars(documents)).all(), positions),
        *map(_to_note_state, await session.scalars(notes)),
    ]
    found = {state.id: state for state in states}
    return {subject: found[subject.id] for subject in subjects if subject.id in found}


async def find_unfinished(
    session: AsyncSession, owner_id: UUID, kind: SubjectKind, *, after: UUID | None, limit: int
) -> list[Subject]:
    """Return the owner's next documents or notes that are pending or processing, oldest first."""
    model = queue.MODELS[kind]
    unfinished = [status for status in Status if not status.is_terminal]
    query = select(model.id).where(model.owner_id == owner_id, model.status.in_(unfinished))
    if after is not None:
        query = query.where(model.id > after)
    found = await session.scalars(query.order_by(model.id).limit(limit))
    return [Subject(owner_id, kind, subject_id) for subject_id in found]


async def find_changed(session: AsyncSession, owner_id: UUID, since: datetime) -> list[Subject]:
    """Return the owner's existing documents and notes that have changed since that time.

    If it is in the future, the database's clock has stepped back, and any of them may have changed.
    """
    has_stepped_back = literal(since) > func.clock_timestamp()
    return await _find_subjects(session, owner_id, lambda model: has_stepped_back | (model.updated_at >= since))


async def list_audit(session: AsyncSession, user_id: UUID, *, limit: int, cursor: str | None) -> AuditList:
    """Return a page of the user's audit entries, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    query = select(models.AuditLog).where(models.AuditLog.actor_user_id == user_id)
    rows, next_cursor = await read_page(session, query, models.AuditLog.id, limit, cursor)
    entries = [AuditEntry(row.id, row.actor_user_id, row.event_type, row.details, row.created_at) for row in rows]
    return AuditList(entries, next_cursor)


async def _find_subjects(
    session: AsyncSession, owner_id: UUID, condition: Callable[[type[Ingested]], ColumnElement[bool]]
) -> list[Subject]:
    found: list[Subject] = []
    for kind, model in queue.MODELS.items():
        query = select(model.id).where(model.owner_id == owner_id, condition(model))
        found += [Subject(owner_id, kind, subject_id) for subject_id in await session.scalars(query)]
    return found


async def _delete(session: AsyncSession, subject: Subject) -> bool:
    """Delete a document or note and its jobs; return False if it does not exist."""
    model = queue.MODELS[subject.kind]
    await queue.discard(session, subject)
    if subject.kind == SubjectKind.DOCUMENT:
        await deliveries.record(session, subject.owner_id, subject.id, WebhookEvent.DELETED)
    gone = await session.execute(
        delete(model).where(model.owner_id == subject.owner_id, model.id == subject.id).returning(model.id)
    )
    return gone.one_or_none() is not None


async def read_page(
    session: AsyncSession, query: Select[Row], key: InstrumentedAttribute[UUID], limit: int, cursor: str | None
) -> tuple[Sequence[Row], str | None]:
    """Return the rows after the cursor, and the cursor of the next page. Ids sort by creation time."""
    if cursor is not None:
        query = query.where(key < decode_cursor(cursor))
    rows = (await session.scalars(query.order_by(key.desc()).limit(limit + 1))).all()
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode_cursor(rows[limit - 1].id)


async def to_documents(
    session: AsyncSession, rows: Sequence[models.Document], positions: Positions = NO_POSITIONS
) -> list[Document]:
    """Return documents as their owner sees them. Queue positions are counted, unless they are among `positions`."""
    waiting = {row.id for row in rows if row.status == Status.PENDING}
    known = {row_id: positions[row_id.bytes] for row_id in waiting if row_id.bytes in positions}
    if uncounted := waiting - known.keys():
        known |= await queue.find_positions(session, rows[0].owner_id, uncounted)
    return [_to_document(row, known.get(row.id)) for row in rows]


def to_failure(row: Any) -> Failure | None:
    """Return why a document or note is `failed`, or None."""
    return Failure(row.error_code, row.error_message or "") if row.error_code else None


def to_note(row: models.Note) -> Note:
    """Return a note as its owner sees it."""
    return Note(
        id=row.id,
        title=row.title,
        body=row.body,
        status=Status(row.status),
        error=to_failure(row),
        collection_ids=row.collection_ids,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _to_note_state(row: models.Note) -> NoteState:
    return NoteState(
        id=row.id,
        title=row.title,
        status=Status(row.status),
        error=to_failure(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _to_document(row: models.Document, queue_position: int | None) -> Document:
    return Document(
        id=row.id,
        filename=row.filename,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256.hex(),
        status=Status(row.status),
        error=to_failure(row),
        pages=row.pages,
        pages_with_text=row.pages_with_text,
        chunks=row.chunks,
        chunks_reused=row.chunks_reused,
        warnings=[DocumentWarning(**warning) for warning in row.warnings],
        attempts=row.attempts,
        progress=row.progress,
        queue_position=queue_position,
        metadata=row.metadata_,
        external_id=row.external_id,
        collection_ids=row.collection_ids,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ingested_at=row.ingested_at,
    )


def encode_cursor(last_id: UUID) -> str:
    """Return the cursor of the page after this id."""
    return base64.urlsafe_b64encode(last_id.bytes).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> UUID:
    """Return the last id of the page before.

    Raises InvalidInput if the cursor is malformed.
    """
    try:
        return UUID(bytes=base64.b64decode(cursor.encode() + b"==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise invalid_cursor() from None


def invalid_cursor() -> InvalidInput:
    """Return the error for a cursor that does not belong to this list."""
    problem = FieldError("cursor", "is not a cursor of this list")
    message = "The cursor is not valid. Use `next_cursor` of an earlier response."
    return InvalidInput(message, errors=(problem,))
