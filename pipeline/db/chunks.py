"""Chunks and their vectors."""

import hashlib
from collections.abc import Sequence

import numpy as np
from pgvector import HalfVector
from sqlalchemy import ColumnElement, LargeBinary, String, and_, bindparam, cast, delete, func, insert, select
from sqlalchemy.dialects.postgresql import REGCONFIG
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import Chunk
from pipeline.types import Subject, SubjectKind, TextChunk, new_id

ROWS_AT_ONCE = 200
ROWS_READ_AT_ONCE = 1000


def fingerprint(text: str) -> bytes:
    """What a text that the model got is known by."""
    return hashlib.sha256(text.encode()).digest()


async def find_vectors(session: AsyncSession, subject: Subject, model: str) -> dict[bytes, np.ndarray]:
    """Vectors that this model made of the present chunks, by the fingerprints of what it got."""
    # The bytes of the vector: as text they are six times as many, and each number would have to be parsed.
    packed = func.halfvec_send(Chunk.embedding, type_=LargeBinary)
    query = select(Chunk.embedded_sha256, packed).where(_is_of(subject), Chunk.model == model)
    rows = await session.stream(query.execution_options(yield_per=ROWS_READ_AT_ONCE))
    return {known: HalfVector.from_binary(vector).to_numpy() async for known, vector in rows if known is not None}


async def replace(
    session: AsyncSession,
    subject: Subject,
    chunks: Sequence[TextChunk],
    texts: Sequence[str],
    vectors: Sequence[np.ndarray],
    *,
    model: str,
    configuration: str,
) -> None:
    """Store the chunks of a document or note in place of the old.

    `texts` is what is embedded and indexed of each, `vectors` their embeddings by `model`; `configuration` says how
    PostgreSQL cuts and stems their words.
    """
    lexemes = func.to_tsvector(cast(configuration, REGCONFIG), bindparam("indexed", type_=String))
    statement = insert(Chunk).values(lexemes=lexemes)
    is_document = subject.kind == SubjectKind.DOCUMENT
    await session.execute(delete(Chunk).where(_is_of(subject)))
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
                "embedded_sha256": fingerprint(texts[ordinal]),
                "embedding": vectors[ordinal],
            }
            for ordinal, chunk in enumerate(chunks[first : first + ROWS_AT_ONCE], start=first)
        ]
        # Not COPY: PostgreSQL refuses it where row-level security holds.
        await session.execute(statement, rows)


def _is_of(subject: Subject) -> ColumnElement[bool]:
    source = Chunk.document_id if subject.kind == SubjectKind.DOCUMENT else Chunk.note_id
    return and_(Chunk.owner_id == subject.owner_id, source == subject.id)
