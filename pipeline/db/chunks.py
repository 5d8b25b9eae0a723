"""Chunks and their vectors."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from uuid import UUID

import numpy as np
from pgvector import HalfVector
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    String,
    Uuid,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import REGCONFIG, distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from pipeline.db.models import Chunk, Document, EmbeddingModel, Note
from pipeline.types import Subject, SubjectKind, TextChunk, new_id

ROWS_AT_ONCE = 200
"""Number of rows per INSERT."""
ROWS_READ_AT_ONCE = 1000
"""Number of rows per fetch."""
ROWS_DELETED_AT_ONCE = 2000
"""Number of rows per DELETE."""

FIRST_KEY = (UUID(int=0), UUID(int=0))
"""Key before those of all chunks, to begin `delete_unused` with."""


@dataclass(frozen=True, slots=True)
class StoredText:
    """A stored chunk's id and text."""

    chunk_id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Number of chunks with a vector of a model, and number of all chunks."""

    done: int
    total: int


def fingerprint(text: str) -> bytes:
    """Return the hash that identifies a text given to the embedding model."""
    return hashlib.sha256(text.encode()).digest()


async def find_vectors(session: AsyncSession, subject: Subject, model: str) -> dict[bytes, np.ndarray]:
    """Return this model's vectors of the stored chunks, keyed by the fingerprint of the embedded text."""
    # Binary vectors: as text they would be six times as long, and every number would have to be parsed.
    packed = func.halfvec_send(Chunk.embedding, type_=LargeBinary)
    query = select(Chunk.embedded_sha256, packed).where(_is_of(subject), Chunk.model == model)
    rows = await session.stream(query.execution_options(yield_per=ROWS_READ_AT_ONCE))
    return {key: HalfVector.from_binary(vector).to_numpy() async for key, vector in rows if key is not None}


async def replace(
    session: AsyncSession,
    subject: Subject,
    chunks: Sequence[TextChunk],
    texts: Sequence[str],
    vectors: Mapping[str, Sequence[np.ndarray]],
    *,
    configuration: str,
) -> None:
    """Replace all chunks of a document or note.

    `texts` are the texts that are embedded and indexed, one for each chunk. `vectors` are their embeddings, by name of
    the model. `configuration` is the text search configuration.
    """
    await _lock(session, subject)
    lexemes = func.to_tsvector(cast(configuration, REGCONFIG), bindparam("indexed", type_=String))
    statement = insert(Chunk).values(lexemes=lexemes)
    is_document = subject.kind == SubjectKind.DOCUMENT
    await session.execute(delete(Chunk).where(_is_of(subject)))
    for first, (model, embeddings) in product(range(0, len(chunks), ROWS_AT_ONCE), vectors.items()):
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
                "embedding": embeddings[ordinal],
            }
            for ordinal, chunk in enumerate(chunks[first : first + ROWS_AT_ONCE], start=first)
        ]
        # No COPY: PostgreSQL refuses it on tables with row-level security.
        await session.execute(statement, rows)


async def sample_words(session: AsyncSession, changed: int) -> None:
    """Find out how frequent words are in the chunks of the acting user, if enough chunks have changed.

    `changed` is the number of chunks that were just stored. It is compared with a random number, so that a sample is
    taken whenever about a quarter of the chunks have changed. If 500 or more are new, the first sample is certain.
    """
    await session.execute(select(func.sluice_sample_words(changed)))


async def find_lacking(session: AsyncSession, subject: Subject, model: str, limit: int) -> list[StoredText]:
    """Return the first `limit` chunks of a document or note that lack a vector of this model."""
    made = aliased(Chunk)
    has_vector = select(made.id).where(_is_of(subject, made), made.ordinal == Chunk.ordinal, made.model == model)
    query = (
        select(Chunk.id, Chunk.text)
        .where(_is_of(subject), ~has_vector.exists())
        .ext(distinct_on(Chunk.ordinal))
        .order_by(Chunk.ordinal, Chunk.model)
        .limit(limit)
    )
    return [StoredText(row.id, row.text) for row in await session.execute(query)]


async def add_vectors(
    session: AsyncSession,
    subject: Subject,
    stored: Sequence[StoredText],
    texts: Sequence[str],
    vectors: Sequence[np.ndarray],
    model: str,
) -> None:
    """Store vectors of another model in addition to the existing ones. `texts` are the embedded texts of the chunks.

    Chunks that were replaced or deleted in the meantime are skipped, so that no vector of them remains.
    """
    if not stored:
        return
    await _lock(session, subject)
    copied = ("owner_id", "document_id", "note_id", "ordinal", "page", "page_end", "start", "end", "text", "lexemes")
    made = {
        "id": cast(bindparam("new_id", type_=Uuid), Uuid),
        "model": cast(bindparam("model", type_=String), String),
        "embedded_sha256": cast(bindparam("sha256", type_=LargeBinary), LargeBinary),
        "embedding": cast(bindparam("vector", type_=HALFVEC()), HALFVEC()),
    }
    source = select(*(getattr(Chunk, name) for name in copied), *made.values()).where(
        _is_of(subject), Chunk.id == bindparam("chunk_id", type_=Uuid)
    )
    rows = [
        {"new_id": new_id(), "model": model, "sha256": fingerprint(text), "vector": vector, "chunk_id": chunk.chunk_id}
        for chunk, text, vector in zip(stored, texts, vectors, strict=True)
    ]
    # Run on the connection, because the session would treat the list of parameters as rows of the mapped class.
    await (await session.connection()).execute(insert(Chunk).from_select([*copied, *made], source), rows)


def count_embedded(source: type[Document] | type[Note], model: str) -> ColumnElement[int]:
    """Return the number of chunks of a document or note with a vector of this model.

    Vectors are made in the order of the text, so the last ordinal gives the number.
    """
    key = Chunk.document_id if source is Document else Chunk.note_id
    last = select(func.max(Chunk.ordinal)).where(Chunk.owner_id == source.owner_id, key == source.id)
    return func.coalesce(last.where(Chunk.model == model).scalar_subquery() + 1, 0)


async def measure(session: AsyncSession, model: str) -> Progress:
    """Count the chunks of all users, and those with a vector of this model. Only the owner of the tables sees them."""
    done = total = 0
    for source in (Document, Note):
        sums = (func.sum(count_embedded(source, model)), func.sum(source.chunks))
        row = (await session.execute(select(*(func.coalesce(one, 0) for one in sums)).where(source.chunks > 0))).one()
        done, total = done + int(row[0]), total + int(row[1])
    return Progress(done, total)


async def delete_unused(session: AsyncSession, after: tuple[UUID, UUID]) -> tuple[UUID, UUID] | None:
    """Delete chunks whose model is neither active nor next, up to 2,000, in key order after `after`.

    Return the key to continue after, or None at the end. Only the owner of the tables sees the chunks of all users.
    """
    key = tuple_(Chunk.owner_id, Chunk.id)
    unused = (
        select(Chunk.owner_id, Chunk.id)
        .where(key > tuple_(*after), Chunk.model.not_in(select(EmbeddingModel.name)))
        .order_by(Chunk.owner_id, Chunk.id)
        .limit(ROWS_DELETED_AT_ONCE)
    )
    gone = await session.execute(delete(Chunk).where(key.in_(unused)).returning(Chunk.owner_id, Chunk.id))
    return max(((row.owner_id, row.id) for row in gone), default=None)


async def _lock(session: AsyncSession, subject: Subject) -> None:
    """Lock the row of a document or note, so that only one transaction at a time writes its chunks."""
    source = Document if subject.kind == SubjectKind.DOCUMENT else Note
    await session.execute(
        select(source.id)
        .where(source.owner_id == subject.owner_id, source.id == subject.id)
        .with_for_update(key_share=True)
    )


def _is_of(subject: Subject, chunk: type[Chunk] = Chunk) -> ColumnElement[bool]:
    source = chunk.document_id if subject.kind == SubjectKind.DOCUMENT else chunk.note_id
    return and_(chunk.owner_id == subject.owner_id, source == subject.id)
