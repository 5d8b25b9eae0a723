"""Chunks and their vectors."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from pgvector import HalfVector
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    LargeBinary,
    SmallInteger,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import Chunk, Document, EmbeddingModel, Note, SpokenLanguage, Vector
from pipeline.stages.words.lexemes import VERSION, Indexed
from pipeline.types import Subject, SubjectKind, TextChunk, new_id

ROWS_AT_ONCE = 200
"""Number of rows per INSERT."""
ROWS_READ_AT_ONCE = 1000
"""Number of rows per fetch."""
OUTDATED_READ_AT_ONCE = 1000
"""Number of chunks of an earlier version that are read to list their documents and notes."""
ROWS_DELETED_AT_ONCE = 2000
"""Number of rows per DELETE."""

VectorKey = tuple[UUID, UUID, str]
"""Owner, chunk and model of a vector."""

FIRST_KEY: VectorKey = (UUID(int=0), UUID(int=0), "")
"""Key before those of all vectors, to begin `delete_unused` with."""


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
    """Return this model's vectors of the stored chunks, keyed by the fingerprint of the embedded text.

    The vectors of a chunk have the shape (windows, dimension).
    """
    # Binary vectors: as text they would be six times as long, and every number would have to be parsed.
    packed = func.halfvec_send(Vector.embedding, type_=LargeBinary)
    of_chunk = and_(Vector.owner_id == Chunk.owner_id, Vector.chunk_id == Chunk.id, Vector.model == model)
    query = (
        select(Chunk.embedded_sha256, Chunk.id, packed)
        .join(Vector, of_chunk)
        .where(_is_of(subject))
        .order_by(Vector.window)
    )
    rows = await session.stream(query.execution_options(yield_per=ROWS_READ_AT_ONCE))
    found: dict[tuple[bytes | None, UUID], list[np.ndarray]] = {}
    async for key, chunk_id, vector in rows:
        found.setdefault((key, chunk_id), []).append(HalfVector.from_binary(vector).to_numpy())
    return {key: np.stack(vectors) for (key, _), vectors in found.items() if key is not None}


async def find_dimension(session: AsyncSession, owner_id: UUID, model: str) -> int | None:
    """Return the dimension of an account's vectors of this model, or None if the account has no such vector."""
    query = select(func.vector_dims(Vector.embedding)).where(Vector.owner_id == owner_id, Vector.model == model)
    dimension: int | None = await session.scalar(query.limit(1))
    return dimension


async def replace(
    session: AsyncSession,
    subject: Subject,
    chunks: Sequence[TextChunk],
    texts: Sequence[str],
    vectors: Mapping[str, Sequence[np.ndarray]],
    indexed: Indexed,
) -> None:
    """Replace all chunks of a document or note.

    `texts` are the texts that are embedded and indexed, one for each chunk. `vectors` are those of each chunk, of shape
    (windows, dimension), by name of the model. `indexed` has their lexemes.
    """
    await _lock(session, subject)
    await _add_language(session, subject.owner_id, indexed.language)
    source = _name_source(subject)
    await session.execute(delete(Chunk).where(_is_of(subject)))
    for first in range(0, len(chunks), ROWS_AT_ONCE):
        rows = [
            {
                **source,
                "id": new_id(),
                "ordinal": ordinal,
                "page": chunk.page,
                "page_end": chunk.page,
                "start": chunk.start,
                "end": chunk.start + len(chunk.text),
                "text": chunk.text,
                "lexemes": indexed.lexemes[ordinal],
                "heading_words": list(chunk.headings),
                "heading_weights": list(chunk.headings.values()),
                "words_version": VERSION,
                "embedded_sha256": fingerprint(texts[ordinal]),
            }
            for ordinal, chunk in enumerate(chunks[first : first + ROWS_AT_ONCE], start=first)
        ]
        # No COPY: PostgreSQL refuses it on tables with row-level security.
        await session.execute(insert(Chunk), rows)
        made = [
            {**source, "chunk_id": row["id"], "model": model, "window": window, "embedding": embedding}
            for model, of_chunks in vectors.items()
            for row, embeddings in zip(rows, of_chunks[first : first + ROWS_AT_ONCE], strict=True)
            for window, embedding in enumerate(embeddings)
        ]
        await session.execute(insert(Vector), made)


def _name_source(subject: Subject) -> dict[str, UUID | None]:
    is_document = subject.kind == SubjectKind.DOCUMENT
    return {
        "owner_id": subject.owner_id,
        "document_id": subject.id if is_document else None,
        "note_id": None if is_document else subject.id,
    }


async def _add_language(session: AsyncSession, owner_id: UUID, language: str) -> None:
    values = {"owner_id": owner_id, "language": language}
    await session.execute(insert(SpokenLanguage).values(values).on_conflict_do_nothing())


async def list_outdated(session: AsyncSession) -> list[Subject]:
    """Return documents and notes of all users whose words were made by an earlier version of the rules.

    At most about 1,000 of their chunks are read. The SQL function bypasses row-level security and returns nothing but
    ids.
    """
    columns = (column("owner_id", Uuid), column("document_id", Uuid), column("note_id", Uuid))
    found = func.sluice_list_outdated(cast(VERSION, SmallInteger), OUTDATED_READ_AT_ONCE).table_valued(*columns)
    return [
        Subject(row.owner_id, SubjectKind.DOCUMENT, row.document_id)
        if row.document_id
        else Subject(row.owner_id, SubjectKind.NOTE, row.note_id)
        for row in await session.execute(select(found))
    ]


async def count_outdated(session: AsyncSession) -> int:
    """Count the chunks of all users whose words were made by an earlier version of the rules."""
    counted = func.sluice_count_outdated(cast(VERSION, SmallInteger), type_=Integer)
    return (await session.execute(select(counted))).scalar_one()


async def try_to_reserve(session: AsyncSession, subject: Subject) -> bool:
    """Return True if no other worker renews the words of this subject, and keep others off until the transaction ends.

    Users and ingestion do not wait for this lock.
    """
    key = func.hashtextextended(f"words {subject.owner_id} {subject.id}", 0)
    locked = func.pg_try_advisory_xact_lock(key, type_=Boolean)
    return (await session.execute(select(locked))).scalar_one()


async def find_outdated(session: AsyncSession, subject: Subject) -> dict[UUID, TextChunk]:
    """Return those chunks of a document or note, by id, whose words were made by an earlier version of the rules."""
    query = select(Chunk.id, Chunk.page, Chunk.start, Chunk.text).where(_is_of(subject), _is_outdated())
    rows = await session.execute(query.order_by(Chunk.ordinal))
    return {row.id: TextChunk(row.page, row.start, row.text) for row in rows}


async def renew_words(
    session: AsyncSession, subject: Subject, chunks: Mapping[UUID, TextChunk], indexed: Indexed
) -> int:
    """Store new words and headings of chunks. Return the number of chunks.

    Chunks that were replaced or deleted in the meantime are skipped.
    """
    await _lock(session, subject)
    kept = set(await session.scalars(select(Chunk.id).where(_is_of(subject), _is_outdated())))
    rows = [
        {
            "renewed_id": chunk_id,
            "new_lexemes": lexemes,
            "new_heading_words": list(chunk.headings),
            "new_heading_weights": list(chunk.headings.values()),
        }
        for (chunk_id, chunk), lexemes in zip(chunks.items(), indexed.lexemes, strict=True)
        if chunk_id in kept
    ]
    if not rows:
        return 0
    await _add_language(session, subject.owner_id, indexed.language)
    renewal = (
        update(Chunk.__table__)  # type: ignore[arg-type]  # the types do not know that it is a table
        .where(Chunk.owner_id == subject.owner_id, Chunk.id == bindparam("renewed_id"))
        .values(
            lexemes=bindparam("new_lexemes"),
            heading_words=bindparam("new_heading_words"),
            heading_weights=bindparam("new_heading_weights"),
            words_version=VERSION,
        )
    )
    connection = await session.connection()
    for first in range(0, len(rows), ROWS_AT_ONCE):
        await connection.execute(renewal, rows[first : first + ROWS_AT_ONCE])
    return len(rows)


def _is_outdated() -> ColumnElement[bool]:
    return or_(Chunk.words_version.is_(None), Chunk.words_version < VERSION)


async def sample_words(session: AsyncSession, changed: int) -> None:
    """Find out how frequent words are in the chunks of the acting user, if enough chunks have changed.

    `changed` is the number of chunks that were just stored. It is compared with a random number, so that a sample is
    taken whenever about a quarter of the chunks have changed. If 500 or more are new, the first sample is certain.
    """
    await session.execute(select(func.sluice_sample_words(changed)))


async def find_lacking(session: AsyncSession, subject: Subject, model: str, limit: int) -> list[StoredText]:
    """Return the first `limit` chunks of a document or note that lack a vector of this model."""
    has_vector = select(Vector.chunk_id).where(
        Vector.owner_id == Chunk.owner_id, Vector.chunk_id == Chunk.id, Vector.model == model
    )
    query = (
        select(Chunk.id, Chunk.text).where(_is_of(subject), ~has_vector.exists()).order_by(Chunk.ordinal).limit(limit)
    )
    return [StoredText(row.id, row.text) for row in await session.execute(query)]


async def add_vectors(
    session: AsyncSession, subject: Subject, stored: Sequence[StoredText], vectors: Sequence[np.ndarray], model: str
) -> None:
    """Store vectors of another model in addition to the existing ones.

    The vectors of a chunk have the shape (windows, dimension). Chunks that were replaced or deleted meanwhile are
    skipped.
    """
    if not stored:
        return
    await _lock(session, subject)
    kept = select(Chunk.id).where(_is_of(subject), Chunk.id.in_([chunk.chunk_id for chunk in stored]))
    kept_ids = set(await session.scalars(kept))
    rows = [
        {**_name_source(subject), "chunk_id": chunk.chunk_id, "model": model, "window": window, "embedding": embedding}
        for chunk, embeddings in zip(stored, vectors, strict=True)
        if chunk.chunk_id in kept_ids
        for window, embedding in enumerate(embeddings)
    ]
    if rows:
        await session.execute(insert(Vector), rows)


def count_embedded(source: type[Document] | type[Note], model: str) -> ColumnElement[int]:
    """Return the number of chunks of a document or note with a vector of this model."""
    key = Vector.document_id if source is Document else Vector.note_id
    is_first = Vector.window == 0
    counted = select(func.count()).where(
        Vector.owner_id == source.owner_id, key == source.id, Vector.model == model, is_first
    )
    return counted.scalar_subquery()


async def measure(session: AsyncSession, model: str) -> Progress:
    """Count the chunks of all users, and those with a vector of this model. Only the owner of the tables sees them."""
    done = total = 0
    for source in (Document, Note):
        sums = (func.sum(count_embedded(source, model)), func.sum(source.chunks))
        row = (await session.execute(select(*(func.coalesce(one, 0) for one in sums)).where(source.chunks > 0))).one()
        done, total = done + int(row[0]), total + int(row[1])
    return Progress(done, total)


async def delete_unused(session: AsyncSession, after: VectorKey) -> VectorKey | None:
    """Delete vectors whose model is neither active nor next, up to 2,000, in key order after `after`.

    Return the key to continue after, or None at the end. Only the owner of the tables sees the vectors of all users.
    """
    names = (Vector.owner_id, Vector.chunk_id, Vector.model)
    key = tuple_(*names)
    unused = (
        select(*names)
        .where(key > tuple_(*after), Vector.model.not_in(select(EmbeddingModel.name)))
        .order_by(*names)
        .limit(ROWS_DELETED_AT_ONCE)
    )
    gone = await session.execute(delete(Vector).where(key.in_(unused)).returning(*names))
    return max(((row.owner_id, row.chunk_id, row.model) for row in gone), default=None)


async def _lock(session: AsyncSession, subject: Subject) -> None:
    """Lock the row of a document or note, so that only one transaction at a time writes its chunks."""
    source = Document if subject.kind == SubjectKind.DOCUMENT else Note
    await session.execute(
        select(source.id)
        .where(source.owner_id == subject.owner_id, source.id == subject.id)
        .with_for_update(key_share=True)
    )


def _is_of(subject: Subject) -> ColumnElement[bool]:
    source = Chunk.document_id if subject.kind == SubjectKind.DOCUMENT else Chunk.note_id
    return and_(Chunk.owner_id == subject.owner_id, source == subject.id)
