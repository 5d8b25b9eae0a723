"""Owners with so many chunks, written past the service: what is measured is the search."""

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
"""It answers; the vectors need not be its own."""
DOCUMENT_CHUNKS = 250
ROWS_AT_ONCE = 10_000
COLUMNS = ("owner_id", "id", "document_id", "ordinal", "page", "page_end", "start", "end", "text", "model", "embedding")


@dataclass(frozen=True)
class Owner:
    """Somebody with so many chunks."""

    id: UUID
    chunks: int


class Corpus(Protocol):
    """Texts and their unit vectors."""

    def read(self, first: int, count: int) -> tuple[Sequence[str], np.ndarray]:
        """So many of them, from `first` on."""
        ...


async def fill(url: str, corpora: Mapping[Owner, Corpus]) -> None:
    """Insert users with documents of 250 chunks each; the indexes for the search are made anew behind them."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"INSERT INTO embedding_models VALUES ('{MODEL}', 'active') ON CONFLICT DO NOTHING")
        async with _without_indexes(connection):
            for owner, corpus in corpora.items():
                await _copy(connection, owner, corpus)
        await connection.execute("VACUUM ANALYZE chunks")
        await connection.execute("ANALYZE documents")
    finally:
        await connection.close()


@asynccontextmanager
async def _without_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'chunks' AND indexdef ~ 'USING (hnsw|gin)'"
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    yield
    await connection.execute("SET maintenance_work_mem = '2GB'")
    for index in indexes:
        await connection.execute(index["indexdef"])


async def _copy(connection: asyncpg.Connection, owner: Owner, corpus: Corpus) -> None:
    email = f"{owner.id}@bench"
    await connection.execute("INSERT INTO users (id, email, password_hash) VALUES ($1, $2, '')", owner.id, email)
    documents = [new_id() for _ in range(-(-owner.chunks // DOCUMENT_CHUNKS))]
    await connection.executemany(
        "INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256, status, chunks)"
        " VALUES ($1, $2, '', '', 0, $3, 'ready', $4)",
        [
            (owner.id, document, document.bytes, min(DOCUMENT_CHUNKS, owner.chunks - number * DOCUMENT_CHUNKS))
            for number, document in enumerate(documents)
        ],
    )
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    await connection.execute(f"CREATE TEMP TABLE staged AS SELECT {names} FROM chunks WITH NO DATA")
    for first in range(0, owner.chunks, ROWS_AT_ONCE):
        texts, vectors = corpus.read(first, min(ROWS_AT_ONCE, owner.chunks - first))
        rows = (
            _pack_row(owner, documents[ordinal // DOCUMENT_CHUNKS], ordinal % DOCUMENT_CHUNKS, text, vector)
            for ordinal, (text, vector) in enumerate(zip(texts, vectors.astype(">f2"), strict=True), start=first)
        )
        await connection.copy_to_table("staged", source=_pack(rows), columns=COLUMNS, format="binary")
        await connection.execute(
            f"INSERT INTO chunks ({names}, lexemes) SELECT {names}, to_tsvector('english', text) FROM staged"
        )
        await connection.execute("TRUNCATE staged")
    await connection.execute("DROP TABLE staged")


def _pack(rows: Iterable[bytes]) -> io.BytesIO:
    """Rows in PostgreSQL's binary COPY format."""
    return io.BytesIO(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff")


def _pack_row(owner: Owner, document: UUID, ordinal: int, text: str, vector: np.ndarray) -> bytes:
    number = struct.pack(">i", ordinal)
    one = struct.pack(">i", 1)
    encoded = text.encode()
    halfvec = struct.pack(">hh", DIMENSION, 0) + vector.tobytes()
    ids = (owner.id.bytes, new_id().bytes, document.bytes)
    fields = (*ids, number, one, one, number, struct.pack(">i", ordinal + len(text)), encoded, MODEL.encode(), halfvec)
    return struct.pack(">h", len(fields)) + b"".join(struct.pack(">i", len(field)) + field for field in fields)
