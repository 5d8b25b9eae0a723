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
ROWS_READ_AT_ONCE = 1000
ROWS_DELETED_AT_ONCE = 2000

FIRST_KEY = (UUID(int=0), UUID(int=0))


@dataclass(frozen=True, slots=True)
class StoredText:
    """Text of a stored chunk."""

    chunk_id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How many chunks have a vector of a model, of all that there are."""

    done: int
    total: int


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
    vectors: Mapping[str, Sequence[np.ndarray]],
    *,
    configuration: str,
) -> None:
    """Store the chunks of a document or note in place of the old.

    `texts` is what is embedded and indexed of each, `vectors` their embeddings by each model; `configuration` says
    how PostgreSQL cuts and stems their words.
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
        # Not COPY: PostgreSQL refuses it where row-level security holds.
        await session.execute(statement, rows)


async def find_lacking(session: AsyncSession, subject: Subject, model: str, limit: int) -> list[StoredText]:
    """The first chunks of a document or note that lack a vector of this model."""
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
    """Store vectors of a further model beside what is there; `texts` is what the model got of each chunk.

    Chunks that are gone by now are passed over: so nothing is left of what was replaced or deleted.
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
    # Of the connection: the session takes every list of parameters for rows.
    await (await session.connection()).execute(insert(Chunk).from_select([*copied, *made], source), rows)


def count_embedded(source: type[Document] | type[Note], model: str) -> ColumnElement[int]:
    """How many chunks of a document or note have a vector of this model: they are made in the order of the text."""
    key = Chunk.document_id if source is Document else Chunk.note_id
    last = select(func.max(Chunk.ordinal)).where(Chunk.owner_id == source.owner_id, key == source.id)
    return func.coalesce(last.where(Chunk.model == model).scalar_subquery() + 1, 0)


async def measure(session: AsyncSession, model: str) -> Progress:
    """How many of everybody's chunks have a vector of this model; for the owner of the tables alone."""
    done = total = 0
    for source in (Document, Note):
        sums = (func.sum(count_embedded(source, model)), func.sum(source.chunks))
        row = (await session.execute(select(*(func.coalesce(one, 0) for one in sums)).where(source.chunks > 0))).one()
        done, total = done + int(row[0]), total + int(row[1])
    return Progress(done, total)


async def delete_unused(session: AsyncSession, behind: tuple[UUID, UUID]) -> tuple[UUID, UUID] | None:
    """Delete some of everybody's vectors of models without a part in searches; None, or behind which key to go on.

    For the owner of the tables alone.
    """
    key = tuple_(Chunk.owner_id, Chunk.id)
    doomed = (
        select(Chunk.owner_id, Chunk.id)
        .where(key > tuple_(*behind), Chunk.model.not_in(select(EmbeddingModel.name)))
        .order_by(Chunk.owner_id, Chunk.id)
        .limit(ROWS_DELETED_AT_ONCE)
    )
    gone = await session.execute(delete(Chunk).where(key.in_(doomed)).returning(Chunk.owner_id, Chunk.id))
    return max(((row.owner_id, row.id) for row in gone), default=None)


async def _lock(session: AsyncSession, subject: Subject) -> None:
    """Chunks of a document or note are written by one transaction after the other."""
    source = Document if subject.kind == SubjectKind.DOCUMENT else Note
    await session.execute(
        select(source.id)
        .where(source.owner_id == subject.owner_id, source.id == subject.id)
        .with_for_update(key_share=True)
    )


def _is_of(subject: Subject, chunk: type[Chunk] = Chunk) -> ColumnElement[bool]:
    source = chunk.document_id if subject.kind == SubjectKind.DOCUMENT else chunk.note_id
    return and_(chunk.owner_id == subject.owner_id, source == subject.id)
