"""Collections of an owner's documents and notes, and their members, each with attributes of its own.

As in `access`, every query names the owner, and another user's row is treated like one that does not exist.
"""

from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, not_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from pipeline import types
from pipeline.db import access, queue
from pipeline.db.models import Collection, CollectionDocument, CollectionNote, Document, Note
from pipeline.errors import Conflict, NotFound
from pipeline.types import (
    Attributes,
    CollectionDocumentList,
    CollectionList,
    CollectionNoteList,
    Status,
    Subject,
    SubjectKind,
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where memberships of documents or notes are."""

    members: type[CollectionDocument | CollectionNote]
    member_id: InstrumentedAttribute[UUID]


_KINDS = {
    SubjectKind.DOCUMENT: _Kind(CollectionDocument, CollectionDocument.document_id),
    SubjectKind.NOTE: _Kind(CollectionNote, CollectionNote.note_id),
}


MAX_COLLECTIONS = 10_000
"""Maximum number of collections of an account. Quotas count neither them nor their metadata."""


def no_such_collection() -> NotFound:
    """Return the error for an unknown id and for another user's collection."""
    return NotFound("This collection does not exist. Check its id.")


def _name_taken() -> Conflict:
    return Conflict("You have another collection with this name. Choose another name.", code="name_taken")


async def require_room(session: AsyncSession, owner_id: UUID) -> None:
    """Check that the owner may have one collection more. Others that create one wait until the transaction ends.

    The session sees the account. Raises Conflict if there are too many.
    """
    key = func.hashtextextended(f"collections of {owner_id}", 0)
    await session.execute(select(func.pg_advisory_xact_lock(key)))
    query = select(func.count()).select_from(Collection).where(Collection.owner_id == owner_id)
    if (await session.scalars(query)).one() >= MAX_COLLECTIONS:
        message = f"You have {MAX_COLLECTIONS} collections, and more are not possible. Delete one that you do not need."
        raise Conflict(message, code="too_many_collections")


async def add(
    session: AsyncSession,
    owner_id: UUID,
    collection_id: UUID,
    *,
    name: str,
    given_name: str | None = None,
    description: str,
    metadata: dict[str, Any],
) -> None:
    """Insert a collection.

    Raises Conflict if the name is taken, IntegrityError if the owner does not exist.
    """
    added = await session.scalar(
        insert(Collection)
        .values(
            owner_id=owner_id,
            id=collection_id,
            name=name,
            given_name=given_name,
            description=description,
            metadata_=metadata,
        )
        .on_conflict_do_nothing(index_elements=["owner_id", "name"])
        .returning(Collection.id)
    )
    if added is None:
        raise _name_taken()


async def get(session: AsyncSession, owner_id: UUID, collection_id: UUID) -> types.Collection:
    """Return the owner's collection.

    Raises NotFound if it does not exist or belongs to another user.
    """
    query = select(Collection).where(Collection.owner_id == owner_id, Collection.id == collection_id)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise no_such_collection()
    return _show(row)


async def find_by_name(session: AsyncSession, owner_id: UUID, name: str) -> types.Collection:
    """Return the owner's collection with this name.

    Raises NotFound if there is none.
    """
    query = select(Collection).where(Collection.owner_id == owner_id, Collection.name == name)
    row = await session.scalar(query)
    if row is None:
        raise no_such_collection()
    return _show(row)


async def list_page(session: AsyncSession, owner_id: UUID, *, limit: int, cursor: str | None) -> CollectionList:
    """Return a page of the owner's collections, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    query = select(Collection).where(Collection.owner_id == owner_id)
    rows, next_cursor = await access.read_page(session, query, Collection.id, limit, cursor)
    return CollectionList([_show(row) for row in rows], next_cursor)


async def change(session: AsyncSession, owner_id: UUID, collection_id: UUID, **values: Any) -> None:
    """Change columns of the owner's collection.

    Raises NotFound if it does not exist or belongs to another user, Conflict if the name is taken.
    """
    changing = (
        update(Collection)
        .where(Collection.owner_id == owner_id, Collection.id == collection_id)
        .values(updated_at=func.clock_timestamp(), **values)
        .returning(Collection.id)
    )
    try:
        async with session.begin_nested():
            changed = await session.scalar(changing)
    except IntegrityError:
        raise _name_taken() from None
    if changed is None:
        raise no_such_collection()


async def hold(session: AsyncSession, owner_id: UUID, collection_ids: Ids[UUID]) -> list[UUID]:
    """Keep these collections of the owner until the transaction ends. Return those that do not exist, sorted.

    It is the first lock in the order that `queue` defines.
    """
    query = select(Collection.id).where(Collection.owner_id == owner_id, Collection.id.in_(collection_ids))
    held = await session.scalars(query.order_by(Collection.id).with_for_update(read=True, key_share=True))
    return sorted(set(collection_ids) - set(held))


async def lock(session: AsyncSession, owner_id: UUID, collection_id: UUID) -> None:
    """Lock the owner's collection. Until the transaction ends, nothing is added to it.

    Raises NotFound if it does not exist or belongs to another user.
    """
    query = select(Collection.id).where(Collection.owner_id == owner_id, Collection.id == collection_id)
    if await session.scalar(query.with_for_update()) is None:
        raise no_such_collection()


async def delete_collection(session: AsyncSession, owner_id: UUID, collection_id: UUID) -> None:
    """Delete the owner's collection. Its documents and notes stay."""
    await session.execute(delete(Collection).where(Collection.owner_id == owner_id, Collection.id == collection_id))


async def find_exclusive(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, kind: SubjectKind, limit: int
) -> Sequence[UUID]:
    """Return documents or notes of the owner that are in this collection and in no other, at most `limit`."""
    members, member_id = _KINDS[kind].members, _KINDS[kind].member_id
    other = aliased(members)
    elsewhere = select(other.collection_id).where(
        other.owner_id == owner_id, getattr(other, member_id.key) == member_id, other.collection_id != collection_id
    )
    query = select(member_id).where(
        members.owner_id == owner_id, members.collection_id == collection_id, not_(elsewhere.exists())
    )
    return (await session.scalars(query.order_by(member_id).limit(limit))).all()


async def put_member(
    session: AsyncSession, collection_id: UUID, subject: Subject, attributes: Attributes | None
) -> None:
    """Put an existing document or note of the owner into a collection, or replace its attributes there.

    The caller holds the collection. Without attributes, those that the member already has stay.
    """
    kind = _KINDS[subject.kind]
    key = {"owner_id": subject.owner_id, "collection_id": collection_id, kind.member_id.key: subject.id}
    adding = insert(kind.members).values(**key, attributes=attributes or {})
    if attributes is None:
        adding = adding.on_conflict_do_nothing()
    else:
        adding = adding.on_conflict_do_update(index_elements=list(key), set_={"attributes": attributes})
    await session.execute(adding)


async def put_documents(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, attributes: Mapping[UUID, Attributes | None]
) -> list[UUID]:
    """Put documents of the owner into a collection, or replace their attributes there. Return those that do not exist.

    The caller holds the collection. Without attributes, those that a member already has stay.
    """
    known = await queue.touch_all(session, owner_id, SubjectKind.DOCUMENT, attributes.keys())
    for keeps in (True, False):
        rows = [
            {
                "owner_id": owner_id,
                "collection_id": collection_id,
                "document_id": document_id,
                "attributes": attributes[document_id] or {},
            }
            for document_id in known
            if (attributes[document_id] is None) == keeps
        ]
        adding = insert(CollectionDocument)
        keys = ["owner_id", "collection_id", "document_id"]
        replacing = adding.on_conflict_do_update(index_elements=keys, set_={"attributes": adding.excluded.attributes})
        if rows:
            await (await session.connection()).execute(adding.on_conflict_do_nothing() if keeps else replacing, rows)
    return sorted(attributes.keys() - set(known))


async def change_document(session: AsyncSession, collection_id: UUID, subject: Subject, attributes: Attributes) -> None:
    """Replace the attributes of a document in a collection of its owner.

    Raises NotFound if it is not in the collection.
    """
    changing = update(CollectionDocument).where(*_is_member(collection_id, subject)).values(attributes=attributes)
    if await session.scalar(changing.returning(CollectionDocument.document_id)) is None:
        raise no_such_member(subject.kind)


async def remove_member(session: AsyncSession, collection_id: UUID, subject: Subject) -> None:
    """Take a document or note out of a collection of its owner.

    Raises NotFound if it is not in the collection.
    """
    kind = _KINDS[subject.kind]
    gone = await session.scalar(
        delete(kind.members).where(*_is_member(collection_id, subject)).returning(kind.members.collection_id)
    )
    if gone is None:
        raise no_such_member(subject.kind)


async def remove_from(session: AsyncSession, subject: Subject, collection_ids: Ids[UUID]) -> None:
    """Take a document or note out of these collections."""
    members, member_id = _KINDS[subject.kind].members, _KINDS[subject.kind].member_id
    is_member = (members.owner_id == subject.owner_id, member_id == subject.id)
    await session.execute(delete(members).where(*is_member, members.collection_id.in_(collection_ids)))


async def lock_member(session: AsyncSession, subject: Subject) -> None:
    """Let nobody put a document or note into a collection until the transaction ends."""
    model = queue.MODELS[subject.kind]
    await session.execute(
        select(model.id).where(model.owner_id == subject.owner_id, model.id == subject.id).with_for_update()
    )


async def is_elsewhere(session: AsyncSession, subject: Subject, collection_ids: Ids[UUID]) -> bool:
    """Return whether a document or note is in a collection that is none of these. The session sees the account."""
    members, member_id = _KINDS[subject.kind].members, _KINDS[subject.kind].member_id
    elsewhere = select(members.collection_id).where(
        members.owner_id == subject.owner_id, member_id == subject.id, members.collection_id.not_in(collection_ids)
    )
    return bool(await session.scalar(select(elsewhere.exists())))


async def get_document(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, document_id: UUID
) -> types.CollectionDocument:
    """Return a document of a collection of the owner.

    Raises NotFound if it is not in the collection.
    """
    subject = Subject(owner_id, SubjectKind.DOCUMENT, document_id)
    query = _select_documents().where(*_is_member(collection_id, subject))
    row = (await session.execute(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise no_such_member(SubjectKind.DOCUMENT)
    [document] = await access.to_documents(session, [row[0]])
    return types.CollectionDocument(document, row.attributes, row.added_at)


async def get_note(session: AsyncSession, owner_id: UUID, collection_id: UUID, note_id: UUID) -> types.CollectionNote:
    """Return a note of a collection of the owner.

    Raises NotFound if it is not in the collection.
    """
    query = _select_notes().where(*_is_member(collection_id, Subject(owner_id, SubjectKind.NOTE, note_id)))
    row = (await session.execute(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise no_such_member(SubjectKind.NOTE)
    return types.CollectionNote(access.to_note(row[0]), row.attributes, row.added_at)


async def read_attributes(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, subjects: Ids[Subject]
) -> dict[UUID, Attributes]:
    """Return the attributes of these documents and notes in a collection. Those that are not in it are left out."""
    found: dict[UUID, Attributes] = {}
    for kind, of in _KINDS.items():
        ids = [subject.id for subject in subjects if subject.kind == kind]
        is_member = (of.members.owner_id == owner_id, of.members.collection_id == collection_id, of.member_id.in_(ids))
        query = select(of.member_id.label("id"), of.members.attributes).where(*is_member)
        found.update((row.id, row.attributes) for row in await session.execute(query))
    return found


async def list_documents(
    session: AsyncSession,
    owner_id: UUID,
    collection_id: UUID,
    *,
    statuses: Sequence[Status] | None,
    limit: int,
    cursor: str | None,
) -> CollectionDocumentList:
    """Return a page of a collection's documents, newest first. It is empty if there is no such collection.

    Raises InvalidInput if the cursor is malformed.
    """
    members = CollectionDocument
    query = _select_documents().where(members.owner_id == owner_id, members.collection_id == collection_id)
    if statuses is not None:
        query = query.where(Document.status.in_(statuses))
    if cursor is not None:
        query = query.where(members.document_id < access.decode_cursor(cursor))
    rows = (await session.execute(query.order_by(members.document_id.desc()).limit(limit + 1))).all()
    documents = await access.to_documents(session, [row[0] for row in rows[:limit]])
    items = [
        types.CollectionDocument(document, row.attributes, row.added_at)
        for document, row in zip(documents, rows, strict=False)
    ]
    next_cursor = access.encode_cursor(items[-1].document.id) if len(rows) > limit else None
    return CollectionDocumentList(items, next_cursor)


async def list_notes(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, *, limit: int, cursor: str | None
) -> CollectionNoteList:
    """Return a page of a collection's notes, newest first, with at most 1 MiB of texts if there are several.

    It is empty if there is no such collection. Raises InvalidInput if the cursor is malformed.
    """
    members = CollectionNote
    query = _select_notes().where(members.owner_id == owner_id, members.collection_id == collection_id)
    sizes = query.with_only_columns(Note.id, Note.size_bytes)
    shown, next_cursor = await access.choose_notes(session, sizes, limit, cursor)
    rows = await session.execute(query.where(members.note_id.in_(shown)).order_by(members.note_id.desc()))
    items = [types.CollectionNote(access.to_note(row[0]), row.attributes, row.added_at) for row in rows]
    return CollectionNoteList(items, next_cursor)


def _select_documents() -> Select[*tuple[Any, ...]]:
    members = CollectionDocument
    is_document = (Document.owner_id == members.owner_id) & (Document.id == members.document_id)
    return select(Document, members.attributes, members.added_at).join(members, is_document)


def _select_notes() -> Select[*tuple[Any, ...]]:
    members = CollectionNote
    is_note = (Note.owner_id == members.owner_id) & (Note.id == members.note_id)
    return select(Note, members.attributes, members.added_at).join(members, is_note)


def _is_member(collection_id: UUID, subject: Subject) -> tuple[ColumnElement[bool], ...]:
    members, member_id = _KINDS[subject.kind].members, _KINDS[subject.kind].member_id
    return members.owner_id == subject.owner_id, members.collection_id == collection_id, member_id == subject.id


def no_such_member(kind: SubjectKind) -> NotFound:
    """Return the error for a document or note that is not in a collection."""
    return NotFound(f"This {kind} is not in the collection. Check both ids.")


def _show(row: Collection) -> types.Collection:
    return types.Collection(
        id=row.id,
        name=row.name,
        description=row.description,
        metadata=row.metadata_,
        documents=row.documents,
        notes=row.notes,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
