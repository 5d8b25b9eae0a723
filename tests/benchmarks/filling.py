"""Fills a database with owners of many chunks. It writes them directly, because the service would take hours."""

import io
import struct
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import asyncpg
import numpy as np

from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.types import new_id

DIMENSION = 384
MODEL = PACKAGED_MODEL
"""The model that the rows name. The vectors need not come from it."""
CHUNKS_PER_DOCUMENT = 250
ROWS_PER_COPY = 10_000
CHUNK_COLUMNS = ("owner_id", "id", "document_id", "ordinal", "page", "page_end", "start", "end", "text")
COLUMNS = (*CHUNK_COLUMNS, "model", "embedding")


@dataclass(frozen=True)
class Owner:
    """A user who owns this number of chunks."""

    id: UUID
    chunks: int
    chunks_per_document: int = CHUNKS_PER_DOCUMENT
    chunks_per_page: int = CHUNKS_PER_DOCUMENT


class Corpus(Protocol):
    """A source of texts and their unit vectors."""

    def read(self, first: int, count: int) -> tuple[Sequence[str], np.ndarray]:
        """Return `count` texts, from number `first` on, and their vectors of shape (count, DIMENSION)."""
        ...


async def fill(url: str, corpora: Mapping[Owner, Corpus]) -> None:
    """Insert users with their documents. The search indexes are dropped first and built again at the end."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"INSERT INTO embedding_models VALUES ('{MODEL}', 'active') ON CONFLICT DO NOTHING")
        async with _without_search_indexes(connection):
            for owner, corpus in corpora.items():
                await _insert_owner(connection, owner, corpus)
        for owner in corpora:
            await connection.execute("SELECT set_config('sluice.user_id', $1, false)", str(owner.id))
            await connection.execute("SELECT sluice_sample_words($1)", owner.chunks)
        await connection.execute("VACUUM ANALYZE chunks, vectors")
        await connection.execute("ANALYZE documents")
    finally:
        await connection.close()


@asynccontextmanager
async def _without_search_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE tablename IN ('chunks', 'vectors') AND indexdef ~ 'USING (hnsw|gin)'"
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    yield
    await connection.execute("SET maintenance_work_mem = '2GB'")
    for index in indexes:
        await connection.execute(index["indexdef"])


async def _insert_owner(connection: asyncpg.Connection, owner: Owner, corpus: Corpus) -> None:
    email = f"{owner.id}@bench"
    await connection.execute("INSERT INTO users (id, email, password_hash) VALUES ($1, $2, '')", owner.id, email)
    size = owner.chunks_per_document
    documents = [new_id() for _ in range(-(-owner.chunks // size))]
    await connection.executemany(
        "INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256, status, chunks)"
        " VALUES ($1, $2, '', '', 0, $3, 'ready', $4)",
        [
            (owner.id, document, document.bytes, min(size, owner.chunks - number * size))
            for number, document in enumerate(documents)
        ],
    )
    names = ", ".join(f'"{name}"' for name in CHUNK_COLUMNS)
    await connection.execute(f"CREATE TEMP TABLE staged AS SELECT {names}, model, embedding FROM chunks WITH NO DATA")
    for first in range(0, owner.chunks, ROWS_PER_COPY):
        texts, vectors = corpus.read(first, min(ROWS_PER_COPY, owner.chunks - first))
        rows = (
            _pack_row(owner, documents[ordinal // size], ordinal % size, text, vector)
            for ordinal, (text, vector) in enumerate(zip(texts, vectors.astype(">f2"), strict=True), start=first)
        )
        await connection.copy_to_table("staged", source=_pack(rows), columns=COLUMNS, format="binary")
        await connection.execute(
            f"INSERT INTO chunks ({names}, lexemes) SELECT {names}, to_tsvector('english', text) FROM staged"
        )
        await connection.execute(
            "INSERT INTO vectors (owner_id, chunk_id, model, document_id, embedding)"
            " SELECT owner_id, id, model, document_id, embedding FROM staged"
        )
        await connection.execute("TRUNCATE staged")
    await connection.execute("DROP TABLE staged")


def _pack(rows: Iterable[bytes]) -> io.BytesIO:
    """Return rows in PostgreSQL's binary COPY format."""
    return io.BytesIO(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff")


def _pack_row(owner: Owner, document: UUID, ordinal: int, text: str, vector: np.ndarray) -> bytes:
    number = struct.pack(">i", ordinal)
    page = struct.pack(">i", 1 + ordinal // owner.chunks_per_page)
    encoded = text.encode()
    halfvec = struct.pack(">hh", DIMENSION, 0) + vector.tobytes()
    ids = (owner.id.bytes, new_id().bytes, document.bytes)
    fields = (
        *ids,
        number,
        page,
        page,
        number,
        struct.pack(">i", ordinal + len(text)),
        encoded,
        MODEL.encode(),
        halfvec,
    )
    return struct.pack(">h", len(fields)) + b"".join(struct.pack(">i", len(field)) + field for field in fields)
