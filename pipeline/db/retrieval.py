"""Finding the nearest passages: one statement, and so one round trip, that acts for the owner, searches and audits."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from pgvector import HalfVector
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.db.audit import Event
from pipeline.db.models import INDEXED_DIMENSIONS, USER_SETTING
from pipeline.types import Passage, SubjectKind, new_id

EXACT_SEARCH_ROWS = 20_000
"""Up to so many chunks of an owner, every one is compared: exact, and as fast as the index."""
EF_SEARCH = 200
MAX_SCAN_TUPLES = 200_000
ALWAYS_EXACT = 2**31 - 1


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
    used for large owners only, and its answer is taken only when it is complete.
    """
    may_use_index = query.document_ids is None and query.vector.size in INDEXED_DIMENSIONS
    exact_rows = EXACT_SEARCH_ROWS if may_use_index else ALWAYS_EXACT
    passages = await _run(connection, query, exact_rows, audited)
    if may_use_index and len(passages) < query.limit:
        return await _run(connection, query, ALWAYS_EXACT, None)
    return passages


async def _run(
    connection: AsyncConnection, query: NearestQuery, exact_rows: int, audited: dict[str, Any] | None
) -> list[Passage]:
    values = {
        "owner": query.owner_id,
        "vector": HalfVector(query.vector).to_text(),
        "model": query.model,
        "limit": query.limit,
        "ef_search": str(EF_SEARCH),
        "max_scan_tuples": str(MAX_SCAN_TUPLES),
    }
    if exact_rows < ALWAYS_EXACT:
        values["exact_rows"] = exact_rows
    if query.document_ids is not None:
        values["document_ids"] = list(query.document_ids)
    if audited is not None:
        values |= {"audit_id": new_id(), "event": Event.QUERY, "details": msgspec.json.encode(audited).decode()}
    statement = _build(
        dimension=query.vector.size if exact_rows < ALWAYS_EXACT else None,
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
def _build(*, dimension: int | None, of_documents: bool, is_audited: bool) -> TextClause:
    """Put the statement together: with a search by the index of a dimension or without, and so on.

    Row-level security looks at the setting that `acting` makes. The searches take the owner from `acting`, so they
    cannot begin before it; if they could, they would see nothing.
    """
    condition = "model = :model" + (" AND document_id = ANY(CAST(:document_ids AS uuid[]))" if of_documents else "")
    exact = _search("embedding <=> CAST(:vector AS halfvec)", condition)
    if dimension is None:
        best = exact
    else:
        cast = f"CAST(embedding AS halfvec({dimension})) <=> CAST(:vector AS halfvec({dimension}))"
        indexed = _search(cast, f"{condition} AND vector_dims(embedding) = {dimension}")
        size = "(SELECT chunks FROM size)"
        best = f"""
            SELECT * FROM ({exact}) AS compared WHERE {size} <= :exact_rows
            UNION ALL SELECT * FROM ({indexed}) AS indexed WHERE {size} > :exact_rows"""  # noqa: S608 - see below
    audit = """, audit AS (
        INSERT INTO audit_logs (id, actor_user_id, event_type, details)
        SELECT :audit_id, user_id, :event,
            CAST(:details AS jsonb) || jsonb_build_object('passages', (SELECT count(*) FROM best))
        FROM acting
    )"""
    return text(f"""
        WITH acting AS MATERIALIZED (
            SELECT CAST(set_config('{USER_SETTING}', CAST(CAST(:owner AS uuid) AS text), true) AS uuid) AS user_id,
                set_config('hnsw.ef_search', :ef_search, true),
                set_config('hnsw.iterative_scan', 'strict_order', true),
                set_config('hnsw.max_scan_tuples', :max_scan_tuples, true)
        ), size AS MATERIALIZED (
            SELECT (SELECT coalesce(sum(chunks), 0) FROM documents WHERE owner_id = user_id)
                + (SELECT coalesce(sum(chunks), 0) FROM notes WHERE owner_id = user_id) AS chunks
            FROM acting
        ), best AS MATERIALIZED ({best}){audit if is_audited else ""}
        SELECT best.*, coalesce(filename, title) AS title FROM best
        LEFT JOIN documents ON documents.owner_id = :owner AND documents.id = best.document_id
        LEFT JOIN notes ON notes.owner_id = :owner AND notes.id = best.note_id
        ORDER BY distance, best.id
    """)  # noqa: S608 - put together from the constants above


def _search(distance: str, condition: str) -> str:
    return f"""
        SELECT nearest.* FROM acting CROSS JOIN LATERAL (
            SELECT id, document_id, note_id, page, page_end, start, "end", text, {distance} AS distance FROM chunks
            WHERE owner_id = acting.user_id AND {condition} ORDER BY distance LIMIT :limit
        ) AS nearest"""  # noqa: S608 - as above
