"""Chunks and their vectors."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import String, bindparam, cast, delete, func, insert
from sqlalchemy.dialects.postgresql import REGCONFIG
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import Chunk
from pipeline.types import Subject, SubjectKind, TextChunk, new_id

ROWS_AT_ONCE = 200


async def replace(
    session: AsyncSession,
    subject: Subject,
    chunks: Sequence[TextChunk],
    texts: Sequence[str],
    vectors: np.ndarray,
    *,
    model: str,
    configuration: str,
) -> None:
    """Store the chunks of a document or note in place of the old.

    `texts` is what is embedded and indexed of each, `vectors` their embeddings by `model`, of shape (chunks,
    dimension); `configuration` says how PostgreSQL cuts and stems their words.
    """
    lexemes = func.to_tsvector(cast(configuration, REGCONFIG), bindparam("indexed", type_=String))
    statement = insert(Chunk).values(lexemes=lexemes)
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
                "indexed": texts[ordinal],
                "model": model,
                "embedding": vectors[ordinal],
            }
            for ordinal, chunk in enumerate(chunks[first : first + ROWS_AT_ONCE], start=first)
        ]
        # Not COPY: PostgreSQL refuses it where row-level security holds.
        await session.execute(statement, rows)
