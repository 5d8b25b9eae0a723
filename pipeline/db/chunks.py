"""Chunks and their vectors: storing a document's, finding the nearest."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ColumnElement, cast, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import INDEXED_DIMENSIONS, Chunk, Document, Note
from pipeline.types import Passage, Subject, SubjectKind, TextChunk, new_id

ROWS_AT_ONCE = 200

EXACT_SEARCH_ROWS = 20_000
"""Up to so many chunks of an owner, every one is compared: exact, and as fast as the index."""
EF_SEARCH = 200
MAX_SCAN_TUPLES = 200_000


async def replace(
    session: AsyncSession, subject: Subject, chunks: Sequence[TextChunk], vectors: np.ndarray, model: str
) -> None:
    """Store the chunks of a document or note, with vectors of shape (chunks, dimension), in place of the old."""
    is_document = subject.kind == SubjectKind.DOCUMENT
    source = Chunk.document_id if is_document else Chunk.note_id
    await session.execute(delete(Chunk).where(Chunk.owner_id == subject.owner_id, source == subject.id))
    for first in range(0, len(chunks), ROWS_AT_ONCE):
        rows = [
            {
                "owner_id": subject.owner_id,
                "id": new_id(),
                "document_id": subject.id if is_document else None,
                "note_id": None if is_document else subject.id,
                "ordinal": ordinal,
                "page": chunk.page,
                "page_end": chunk.page,
                "start": chunk.start,
                "end": chunk.start + len(chunk.text),
                "text": chunk.text,
                "model": model,
                "embedding": vectors[ordinal],
            }
            for ordinal, chunk in enumerate(chunks[first : first + ROWS_AT_ONCE], start=first)
        ]
        await session.execute(insert(Chunk), rows)


async def find_nearest(
    session: AsyncSession,
    owner_id: UUID,
    vector: np.ndarray,
    *,
    model: str,
    limit: int,
    document_ids: Collection[UUID] | None,
) -> list[Passage]:
    """The owner's passages nearest to a unit vector by cosine, best first; `limit` of them if there are as many.

    The HNSW index filters after it has searched, and so returns too few of a small share of the table. It is
    used for large owners only, and its answer is taken only when it is complete.
    """
    filters = [Chunk.owner_id == owner_id, Chunk.model == model]
    if document_ids is not None:
        filters.append(Chunk.document_id.in_(document_ids))
    elif vector.size in INDEXED_DIMENSIONS and await _count(session, owner_id) > EXACT_SEARCH_ROWS:
        await _tune_index_scan(session)
        indexed = cast(Chunk.embedding, HALFVEC(vector.size)).cosine_distance(vector)
        is_indexed = func.vector_dims(Chunk.embedding) == vector.size
        passages = await _rank(session, [*filters, is_indexed], indexed, limit)
        if len(passages) == limit:
            return passages
    return await _rank(session, filters, Chunk.embedding.cosine_distance(vector), limit)


async def _rank(
    session: AsyncSession, filters: list[ColumnElement[bool]], distance: ColumnElement[Any], limit: int
) -> list[Passage]:
    best = select(Chunk, distance.label("distance")).where(*filters).order_by(distance).limit(limit).subquery()
    rows = await session.execute(
        select(best, func.coalesce(Document.filename, Note.title).label("title"))
        .outerjoin(Document, (Document.owner_id == best.c.owner_id) & (Document.id == best.c.document_id))
        .outerjoin(Note, (Note.owner_id == best.c.owner_id) & (Note.id == best.c.note_id))
        .order_by(best.c.distance, best.c.id)
    )
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


async def _count(session: AsyncSession, owner_id: UUID) -> int:
    documents = select(func.sum(Document.chunks)).where(Document.owner_id == owner_id).scalar_subquery()
    notes = select(func.sum(Note.chunks)).where(Note.owner_id == owner_id).scalar_subquery()
    return await session.scalar(select(func.coalesce(documents, 0) + func.coalesce(notes, 0))) or 0


async def _tune_index_scan(session: AsyncSession) -> None:
    knobs = {
        "hnsw.ef_search": EF_SEARCH,
        "hnsw.iterative_scan": "strict_order",
        "hnsw.max_scan_tuples": MAX_SCAN_TUPLES,
    }
    await session.execute(select(*(func.set_config(name, str(value), True) for name, value in knobs.items())))
