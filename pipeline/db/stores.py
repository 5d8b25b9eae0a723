"""Collections and their documents, as clients in the format of OpenAI see them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Row, Select, Uuid, any_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, collections
from pipeline.db.list_parts import read_part
from pipeline.db.models import Collection, CollectionDocument, Document
from pipeline.types import FileCounts, ListPart, Status, Store, StoreFile, SubjectKind

STATES = {
    "in_progress": (Status.PENDING, Status.PROCESSING),
    "completed": (Status.READY,),
    "failed": (Status.FAILED,),
    "cancelled": (),
}
"""Statuses of documents that each state of a file stands for."""
UNNAMED = "Vector store"
"""Name of the collection of a store without a name."""
LONGEST_NAME = 180
"""Longest part of a given name that is part of the name of the collection, in characters."""

_NAME = func.coalesce(Collection.given_name, Collection.name)
_KEYS = (CollectionDocument.added_at.expression, CollectionDocument.document_id.expression)


async def find_free_name(session: AsyncSession, owner_id: UUID, given: str, renamed: UUID | None = None) -> str:
    """Return a name for a collection of the owner that no other one has: the given name, or the same with a number.

    If the collection exists, it is `renamed`.
    """
    base = given[:LONGEST_NAME].strip() or UNNAMED
    is_similar = (Collection.name == base) | Collection.name.startswith(f"{base} (", autoescape=True)
    query = select(Collection.name).where(Collection.owner_id == owner_id, is_similar)
    taken = set(await session.scalars(query if renamed is None else query.where(Collection.id != renamed)))
    numbered = (f"{base} ({number})" for number in range(2, len(taken) + 3))
    return next(name for name in (base, *numbered) if name not in taken)


async def get_store(session: AsyncSession, owner_id: UUID, collection_id: UUID) -> Store:
    """Return the owner's collection.

    Raises NotFound if it does not exist or belongs to another user.
    """
    row = (await session.execute(_select_stores(owner_id).where(Collection.id == collection_id))).one_or_none()
    if row is None:
        raise collections.no_such_collection()
    [store] = await _show_stores(session, owner_id, [row])
    return store


async def list_stores(session: AsyncSession, owner_id: UUID, part: ListPart) -> tuple[list[Store], bool]:
    """Return a part of the owner's collections, and whether more follow.

    Raises InvalidInput if the owner has no collection next to which the part would begin.
    """
    rows, has_more = await read_part(session, _select_stores(owner_id), [Collection.id.expression], part)
    return await _show_stores(session, owner_id, rows), has_more


def _select_stores(owner_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(
        Collection.id,
        _NAME.label("name"),
        Collection.description,
        Collection.metadata_,
        Collection.created_at,
        Collection.updated_at,
    ).where(Collection.owner_id == owner_id)


async def _show_stores(session: AsyncSession, owner_id: UUID, rows: Sequence[Row[*tuple[Any, ...]]]) -> list[Store]:
    members = CollectionDocument
    is_member = (members.owner_id == owner_id, members.collection_id.in_([row.id for row in rows]))
    counted: dict[UUID, dict[str, int]] = {row.id: {} for row in rows}
    sizes = dict.fromkeys(counted, 0)
    query = (
        select(members.collection_id, Document.status, func.count(), func.sum(Document.size_bytes))
        .join(Document, (Document.owner_id == members.owner_id) & (Document.id == members.document_id))
        .where(*is_member)
        .group_by(members.collection_id, Document.status)
    )
    for collection_id, status, count, size in await session.execute(query):
        counted[collection_id][status] = count
        sizes[collection_id] += int(size)
    return [
        Store(
            row.id,
            row.name,
            row.description,
            row.metadata_,
            count_files(counted[row.id]),
            sizes[row.id],
            row.created_at,
            row.updated_at,
        )
        for row in rows
    ]


async def count_among(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, document_ids: Sequence[UUID]
) -> tuple[FileCounts, UUID | None]:
    """Return the numbers of these documents of a collection, and the newest one of those in progress."""
    members = CollectionDocument
    query = (
        select(Document.status, func.count(), func.array_agg(Document.id))
        .join(members, (Document.owner_id == members.owner_id) & (Document.id == members.document_id))
        .where(members.owner_id == owner_id, members.collection_id == collection_id)
        .where(members.document_id == any_(_to_array(document_ids)))
        .group_by(Document.status)
    )
    rows = (await session.execute(query)).all()
    files = count_files({status: count for status, count, _ in rows})
    unfinished = [each for status, _, ids in rows if status in STATES["in_progress"] for each in ids]
    return replace(files, cancelled=len(document_ids) - files.total), max(unfinished, default=None)


def _to_array(document_ids: Sequence[UUID]) -> ColumnElement[Any]:
    return literal(list(document_ids), ARRAY(Uuid))


def count_files(counted: Mapping[str, int]) -> FileCounts:
    """Return the numbers of files, from those of the documents with each status."""
    return FileCounts(**{state: sum(counted.get(each, 0) for each in statuses) for state, statuses in STATES.items()})


async def get_store_file(session: AsyncSession, owner_id: UUID, collection_id: UUID, document_id: UUID) -> StoreFile:
    """Return a document of a collection of the owner.

    Raises NotFound if it is not in the collection.
    """
    query = _select_files(owner_id, collection_id).where(CollectionDocument.document_id == document_id)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise collections.no_such_member(SubjectKind.DOCUMENT)
    return _show_file(row)


async def list_store_files(
    session: AsyncSession,
    owner_id: UUID,
    collection_id: UUID,
    part: ListPart,
    state: str | None,
    among: Sequence[UUID] | None = None,
) -> tuple[list[StoreFile], bool]:
    """Return a part of a collection's documents in this state, or in any, and whether more follow.

    `among` restricts them to these documents. Raises InvalidInput if there is no document next to which the part would
    begin.
    """
    query = _select_files(owner_id, collection_id)
    if among is not None:
        query = query.where(CollectionDocument.document_id == any_(_to_array(among)))
    conditions = [] if state is None else [Document.status.in_(STATES[state])]
    rows, has_more = await read_part(session, query, _KEYS, part, *conditions)
    return [_show_file(row) for row in rows], has_more


def _select_files(owner_id: UUID, collection_id: UUID) -> Select[*tuple[Any, ...]]:
    members = CollectionDocument
    return (
        select(
            Document.id,
            members.collection_id,
            Document.size_bytes,
            Document.status,
            Document.error_code,
            Document.error_message,
            members.attributes,
            members.added_at,
        )
        .join(members, (Document.owner_id == members.owner_id) & (Document.id == members.document_id))
        .where(members.owner_id == owner_id, members.collection_id == collection_id)
    )


def _show_file(row: Row[*tuple[Any, ...]]) -> StoreFile:
    return StoreFile(
        row.id,
        row.collection_id,
        row.size_bytes,
        Status(row.status),
        access.to_failure(row),
        row.attributes,
        row.added_at,
    )
