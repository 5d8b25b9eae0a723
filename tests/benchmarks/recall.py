"""`python -m tests.benchmarks.recall`: which of the nearest passages the vector index misses, and the time it saves.

It reads a file with one text per line, all different. The last 100 texts are the queries. The others become the chunks
of owners with the given sizes, and of other owners with 10,000 chunks each. The vectors are stored next to the file.
The table is printed, and written to a file from which `tests.benchmarks.page` makes docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.db.candidates import DEFAULT_BOUNDS, SearchBounds
from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from pipeline.operations.local.place import open_place
from pipeline.operations.local.servers import run_postgres
from pipeline.types import SearchMode, new_id
from tests.benchmarks.filling import DIMENSION, MODEL, Owner, fill
from tests.benchmarks.machine import read_machine
from tests.benchmarks.models import load_model
from tests.benchmarks.times import Times
from tests.databases import migrate, run_sql

QUERIES = 100
TOP_K = 10
LONG_LIST = 50
"""Number of passages that the long searches ask for."""
CHUNKS_OF_OTHERS = 10_000
"""Chunks of each other owner."""
TEXTS_PER_ENCODING = 2_000
EXACT = SearchBounds(exact_search_rows=1_000_000_000)
"""Bounds with which every search compares all vectors, because no owner has that many chunks."""


@dataclass(frozen=True)
class Lines:
    """Lines of the file and their vectors."""

    texts: Sequence[str]
    vectors: np.ndarray

    def read(self, first: int, count: int) -> tuple[Sequence[str], np.ndarray]:
        part = slice(first, first + count)
        return self.texts[part], self.vectors[part]

    def cut(self, first: int, count: int) -> "Lines":
        return Lines(*self.read(first, count))


def load(file: Path) -> Lines:
    """Read the lines of a file and their vectors. Compute the vectors if they are not stored yet."""
    texts = file.read_text(encoding="utf-8").splitlines()
    stored = file.with_suffix(".npy")
    if not stored.exists():
        vectors = np.lib.format.open_memmap(stored, mode="w+", dtype=np.float16, shape=(len(texts), DIMENSION))
        model = load_model()
        for first in range(0, len(texts), TEXTS_PER_ENCODING):
            vectors[first : first + TEXTS_PER_ENCODING] = model.encode(texts[first : first + TEXTS_PER_ENCODING])
    return Lines(texts, np.load(stored, mmap_mode="r"))


@dataclass(frozen=True)
class Found:
    """The texts that each query found, and the times."""

    texts: list[list[str]]
    times: Times

    @property
    def milliseconds(self) -> tuple[float, float]:
        """The p50 and p95."""
        return 1000 * self.times.p50, 1000 * self.times.p95


async def ask(
    database: Database,
    owner: Owner,
    queries: Lines,
    mode: SearchMode,
    limit: int,
    bounds: SearchBounds = DEFAULT_BOUNDS,
) -> Found:
    found = Found([], Times())
    for text, vector in zip(queries.texts, queries.vectors, strict=True):
        query = PassageQuery(owner.id, mode, text, vector.astype(np.float32), MODEL, limit, bounds=bounds)
        started = time.perf_counter()
        async with database.statement() as connection:
            passages = await find_passages(connection, query)
        found.times.each.append(time.perf_counter() - started)
        found.texts.append([passage.text for passage in passages])
    return found


@dataclass(frozen=True)
class Row:
    """A row of the table: how the chunks of one owner are searched. Times are p50 and p95 in milliseconds."""

    chunks: int
    recall: float
    """Share of the nearest passages that a `vector` search with the service's bounds finds."""
    incomplete: int
    """Number of the long searches that found too few passages."""
    vector_ms: tuple[float, float]
    exact_ms: tuple[float, float]
    """Of `vector` searches that compare every vector."""
    hybrid_ms: tuple[float, float]


async def compare(database: Database, owner: Owner, queries: Lines) -> Row:
    """Search the chunks of one owner in each way."""
    await ask(database, owner, queries, SearchMode.VECTOR, TOP_K)  # to prepare the statement and fill the caches
    chosen = await ask(database, owner, queries, SearchMode.VECTOR, TOP_K)
    long = await ask(database, owner, queries, SearchMode.VECTOR, LONG_LIST)
    await ask(database, owner, queries, SearchMode.HYBRID, TOP_K)
    hybrid = await ask(database, owner, queries, SearchMode.HYBRID, TOP_K)
    await ask(database, owner, queries, SearchMode.VECTOR, TOP_K, EXACT)
    exact = await ask(database, owner, queries, SearchMode.VECTOR, TOP_K, EXACT)
    recall = [len(set(one) & set(other)) / TOP_K for one, other in zip(chosen.texts, exact.texts, strict=True)]
    return Row(
        chunks=owner.chunks,
        recall=float(np.mean(recall)),
        incomplete=sum(len(texts) < min(LONG_LIST, owner.chunks) for texts in long.texts),
        vector_ms=chosen.milliseconds,
        exact_ms=exact.milliseconds,
        hybrid_ms=hybrid.milliseconds,
    )


async def measure(url: str, lines: Lines, sizes: Sequence[int], others: int) -> list[Row]:
    """Fill a database, and return a row for each owner of `sizes`."""
    queries = lines.cut(len(lines.texts) - QUERIES, QUERIES)
    owners = [Owner(new_id(), size) for size in (*sizes, *[CHUNKS_OF_OTHERS] * (others // CHUNKS_OF_OTHERS))]
    starts = np.cumsum([0, *(owner.chunks for owner in owners)])
    await fill(
        url, {owner: lines.cut(int(first), owner.chunks) for owner, first in zip(owners, starts[:-1], strict=True)}
    )
    database = Database(url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=600)
    try:
        return [await compare(database, owner, queries) for owner in owners[: len(sizes)]]
    finally:
        await database.close()


def print_rows(rows: Sequence[Row]) -> None:
    table = Table("chunks", f"recall@{TOP_K}", f"fewer than {LONG_LIST}", "ms p50 / p95", "exact", "hybrid")
    for row in rows:
        times = [f"{p50:.1f} / {p95:.1f}" for p50, p95 in (row.vector_ms, row.exact_ms, row.hybrid_ms)]
        table.add_row(f"{row.chunks:,}", f"{row.recall:.4f}", str(row.incomplete), *times)
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recall", description=__doc__)
    parser.add_argument("file", type=Path, help="texts, one per line")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=(200, 20_000, 200_000), help="chunks of each owner who is searched"
    )
    parser.add_argument("--others", type=int, default=1_000_000, help="chunks of all other owners together")
    parser.add_argument("--output", type=Path, default=Path(".bench/recall.json"), help="file for the table")
    options = parser.parse_args()
    lines = load(options.file)
    missing = sum(options.sizes) + options.others + QUERIES - len(lines.texts)
    if missing > 0:
        parser.error(f"the file needs {missing} more lines")
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        open_place(Path(folder)) as place,
        run_postgres(place) as server,
    ):
        run_sql(server.url, "CREATE DATABASE recall")
        database_url = server.url.replace("/postgres?", "/recall?")
        migrate(database_url, "head")
        rows = asyncio.run(measure(database_url, lines, options.sizes, options.others))
    print_rows(rows)
    result = {"machine": asdict(read_machine()), "others": options.others, "rows": [asdict(row) for row in rows]}
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
