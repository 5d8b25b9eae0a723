"""Part d: what a search costs when there is more to search, of the owner and of others."""

import asyncio
import io
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import numpy as np

from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from pipeline.types import SearchMode, new_id
from tests.benchmarks.measure import Times
from tests.benchmarks.report import Report

DIMENSION = 384
QUERIES = 60
TOP_K = 10
DOCUMENT_CHUNKS = 250
ROWS_AT_ONCE = 10_000
MODEL = "growth"
TEXT = "A passage of about the usual length stands here, so that its row is as large as rows are. " * 16
COLUMNS = ("owner_id", "id", "document_id", "ordinal", "page", "page_end", "start", "end", "text", "model", "embedding")
CLUSTERS = 2_000
SPREAD = 0.9
"""How far vectors are from the centre of their cluster: nearest neighbours at a cosine of about 0.6, as of real text."""


@dataclass(frozen=True)
class Owner:
    """Somebody with so many chunks."""

    id: UUID
    chunks: int


class Vectors:
    """Unit vectors in clusters, always the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._centres = normalize(np.random.default_rng(0).standard_normal((CLUSTERS, DIMENSION)))

    def draw(self, count: int) -> np.ndarray:
        around = normalize(self._random.standard_normal((count, DIMENSION)))
        return normalize(self._centres[self._random.integers(0, CLUSTERS, count)] + SPREAD * around)


def normalize(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def measure_growth(report: Report, database_url: str, sizes: Sequence[int]) -> None:
    """Give one owner after the other so many chunks; each is searched alone so far, and again beside all others."""
    asyncio.run(_measure_growth(report, database_url, sizes))


async def _measure_growth(report: Report, url: str, sizes: Sequence[int]) -> None:
    database = Database(url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=3600)
    owners: list[Owner] = []
    try:
        for size in sizes:
            owner = Owner(new_id(), size)
            await fill(url, owner)
            owners.append(owner)
            await _note(report, database, owner, f"growth_{size}_chunks")
        for owner in owners[:-1]:
            await _note(report, database, owner, f"growth_{owner.chunks}_chunks_beside_others")
    finally:
        await database.close()


async def _note(report: Report, database: Database, owner: Owner, name: str) -> None:
    times = Times()
    for vector in Vectors(seed=1).draw(QUERIES + 5):
        query = PassageQuery(owner.id, SearchMode.VECTOR, TEXT, vector, MODEL, TOP_K)
        started = time.perf_counter()
        async with database.statement() as connection:
            passages = await find_passages(connection, query)
        times.each.append(time.perf_counter() - started)
        assert len(passages) == TOP_K
    del times.each[:5]  # the first ones prepare the statement and warm the caches
    report.note(f"{name}_p50_ms", 1000 * times.p50)
    report.note(f"{name}_p95_ms", 1000 * times.p95)


async def fill(url: str, owner: Owner) -> None:
    """Insert a user with documents of 250 chunks each; the vector indexes are made anew behind it."""
    connection = await asyncpg.connect(url)
    try:
        indexes = await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'chunks' AND indexdef LIKE '%hnsw%'"
        )
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['indexname']}")
        await _copy(connection, owner)
        await connection.execute("SET maintenance_work_mem = '2GB'")
        for index in indexes:
            await connection.execute(index["indexdef"])
        await connection.execute("VACUUM ANALYZE chunks")
        await connection.execute("ANALYZE documents")
    finally:
        await connection.close()


async def _copy(connection: asyncpg.Connection, owner: Owner) -> None:
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
    vectors = Vectors(seed=owner.chunks)
    for first in range(0, owner.chunks, ROWS_AT_ONCE):
        drawn = vectors.draw(min(ROWS_AT_ONCE, owner.chunks - first))
        rows = (
            _pack_row(owner, documents[ordinal // DOCUMENT_CHUNKS], ordinal % DOCUMENT_CHUNKS, vector)
            for ordinal, vector in enumerate(drawn.astype(">f2"), start=first)
        )
        await connection.copy_to_table("chunks", source=_pack(rows), columns=COLUMNS, format="binary")


def _pack(rows: Iterable[bytes]) -> io.BytesIO:
    """Rows in PostgreSQL's binary COPY format."""
    return io.BytesIO(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff")


def _pack_row(owner: Owner, document: UUID, ordinal: int, vector: np.ndarray) -> bytes:
    number = struct.pack(">i", ordinal)
    one = struct.pack(">i", 1)
    text = f"{ordinal} {TEXT}".encode()
    halfvec = struct.pack(">hh", DIMENSION, 0) + vector.tobytes()
    ids = (owner.id.bytes, new_id().bytes, document.bytes)
    fields = (*ids, number, one, one, number, struct.pack(">i", ordinal + len(text)), text, MODEL.encode(), halfvec)
    return struct.pack(">h", len(fields)) + b"".join(struct.pack(">i", len(field)) + field for field in fields)
