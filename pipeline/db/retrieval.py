"""Finding the nearest passages: one statement, and so one round trip, that acts for the owner, searches and audits."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    String,
    Uuid,
    and_,
    bindparam,
    cast,
    func,
    insert,
    literal,
    not_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.db.audit import Event
from pipeline.db.models import INDEXED_DIMENSIONS, USER_SETTING, AuditLog, Chunk, Document, Note
from pipeline.types import Passage, SubjectKind, new_id

EXACT_SEARCH_ROWS = 20_000
"""Up to so many chunks of an owner, every one is compared: exact, and as fast as the index."""
EF_SEARCH = 200
MAX_SCAN_TUPLES = 200_000

OWNER = bindparam("owner", type_=Uuid)
# A literal: PostgreSQL would think of a tenth of the rows, and so of plans that it does not keep, where it is not told.
LIMIT = bindparam("limit", type_=Integer, literal_execute=True)


@dataclass(frozen=True)
class NearestQuery:
    """Whose passages, nearest to what, and how many."""

    owner_id: UUID
    vector: np.ndarray
    """Unit vector."""
    model: str
    limit: int
    document_ids: Collection[UUID] | None = None
    """Of these documents only; None: of all documents and notes."""


async def find_nearest(
    connection: AsyncConnection, query: NearestQuery, audited: dict[str, Any] | None = None
) -> list[Passage]:
    """The owner's passages nearest to a unit vector by cosine, best first; `limit` of them if there are as many.

    With `audited` an audit row with these details, and the number of passages, is written by the same statement.
    The HNSW index filters after it has searched, and so returns too few of a small share of the table. It is
    used for large owners only, and its answer is taken only when it is complete; else every vector is compared.
    """
    values: dict[str, Any] = {
        "owner": query.owner_id,
        "vector": query.vector,
        "model": query.model,
        "limit": query.limit,
        "ef_search": str(EF_SEARCH),
        "max_scan_tuples": str(MAX_SCAN_TUPLES),
    }
    may_use_index = query.document_ids is None and query.vector.size in INDEXED_DIMENSIONS
    if may_use_index:
        values["exact_rows"] = EXACT_SEARCH_ROWS
    if query.document_ids is not None:
        values["document_ids"] = list(query.document_ids)
    if audited is not None:
        values |= {"audit_id": new_id(), "event": Event.QUERY, "details": audited}
    statement = _build(
        dimension=query.vector.size if may_use_index else None,
        of_documents=query.document_ids is not None,
        is_audited=audited is not None,
    )
    rows = await connection.execute(statement, values)
    return [
        Passage(
            source=SubjectKind.DOCUMENT if row.document_id else SubjectKind.NOTE,
            document_id=row.document_id,
            note_id=row.note_id,
            title=row.title,
            page=row.page,
            page_end=row.page_end,
            start=row.start,
            end=row.end,
            text=row.text,
            score=1.0 - row.distance,
        )
        for row in rows
    ]


@cache
def _build(*, dimension: int | None, of_documents: bool, is_audited: bool) -> Select[Any]:
    """Put the statement together: with a search by the index of a dimension or without, and so on.

    Row-level security looks at the setting that `acting` makes. The searches take the owner from `acting`, so they
    cannot begin before it; if they could, they would see nothing.
    """
    acting = _act()
    conditions = [Chunk.model == bindparam("model")]
    if of_documents:
        conditions.append(Chunk.document_id == func.any(bindparam("document_ids", type_=ARRAY(Uuid))))
    found = _search(acting, _distance(None), and_(*conditions))
    if dimension is not None:
        # A literal, no parameter: else PostgreSQL could not tell that the partial index fits.
        conditions.append(func.vector_dims(Chunk.embedding) == literal(dimension, literal_execute=True))
        found = _choose(acting, found, _search(acting, _distance(dimension), and_(*conditions)))
    best = found.cte("best").prefix_with("MATERIALIZED")
    title = func.coalesce(Document.filename, Note.title).label("title")
    statement = (
        select(best, title)
        .outerjoin(Document, and_(Document.owner_id == OWNER, Document.id == best.c.document_id))
        .outerjoin(Note, and_(Note.owner_id == OWNER, Note.id == best.c.note_id))
        .order_by(best.c.distance, best.c.id)
    )
    return statement.add_cte(_audit(acting, best)) if is_audited else statement


def _act() -> CTE:
    settings = {
        "hnsw.ef_search": bindparam("ef_search"),
        "hnsw.iterative_scan": "strict_order",
        "hnsw.max_scan_tuples": bindparam("max_scan_tuples"),
    }
    return (
        select(
            cast(func.set_config(USER_SETTING, cast(OWNER, String), true()), Uuid).label("user_id"),
            *(func.set_config(name, value, true()).label(name.split(".")[1]) for name, value in settings.items()),
        )
        .cte("acting")
        .prefix_with("MATERIALIZED")
    )


def _distance(dimension: int | None) -> ColumnElement[float]:
    """Cosine distance; with a dimension, as the index of that dimension knows it."""
    of = HALFVEC(dimension)
    embedding = Chunk.embedding if dimension is None else cast(Chunk.embedding, of)
    distance: ColumnElement[float] = embedding.cosine_distance(cast(bindparam("vector", type_=of), of))
    return distance.label("distance")


def _search(acting: CTE, distance: ColumnElement[float], condition: ColumnElement[bool]) -> Select[Any]:
    columns = (Chunk.id, Chunk.document_id, Chunk.note_id, Chunk.page, Chunk.page_end, Chunk.start, Chunk.end)
    nearest = (
        select(*columns, Chunk.text, distance)
        .where(_belongs_to_owner(acting), condition)
        .order_by(distance)
        .limit(LIMIT)
        .lateral("nearest")
    )
    return select(nearest).select_from(acting.join(nearest, true()))


def _belongs_to_owner(acting: CTE) -> ColumnElement[bool]:
    return Chunk.owner_id == acting.c.user_id


def _choose(acting: CTE, exact: Select[Any], indexed: Select[Any]) -> Select[Any]:
    """The answer of the index where the owner is large and it is complete, else of the comparison with every vector.

    PostgreSQL runs only what is needed of them.
    """
    size = select((_count(Document, acting) + _count(Note, acting)).label("chunks")).select_from(acting).cte("size")
    chunks = select(size.prefix_with("MATERIALIZED").c.chunks).scalar_subquery()
    is_large = chunks > bindparam("exact_rows", type_=Integer)
    by_index = select(indexed.subquery("found")).where(is_large).cte("by_index").prefix_with("MATERIALIZED")
    is_complete = select(func.count()).select_from(by_index).scalar_subquery() >= LIMIT
    compared = exact.subquery("compared")
    chosen = union_all(select(by_index).where(is_complete), select(compared).where(not_(is_complete)))
    return select(chosen.subquery("chosen"))


def _count(source: type[Document | Note], acting: CTE) -> ColumnElement[int]:
    count = select(func.coalesce(func.sum(source.chunks), 0)).where(source.owner_id == acting.c.user_id)
    return count.scalar_subquery()


def _audit(acting: CTE, best: CTE) -> CTE:
    passages = select(func.count()).select_from(best).scalar_subquery()
    details = cast(bindparam("details", type_=JSONB), JSONB) + func.jsonb_build_object("passages", passages)
    return (
        insert(AuditLog)
        .from_select(
            ["id", "actor_user_id", "event_type", "details"],
            select(bindparam("audit_id", type_=Uuid), acting.c.user_id, bindparam("event", type_=String), details),
        )
        .cte("audit")
    )
