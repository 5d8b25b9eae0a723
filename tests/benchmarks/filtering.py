"""`python -m tests.benchmarks.filtering`: searches with filters that keep half, few or hardly any passages.

The texts and vectors are artificial. Another owner has as many passages. The table is printed, and written to a file from
which `tests.benchmarks.page` makes docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.db.candidates import DEFAULT_BOUNDS, SearchBounds
from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from pipeline.filters import decode
from pipeline.operations.local.place import open_place
from pipeline.operations.local.servers import run_postgres
from pipeline.types import EVERYTHING, SearchMode, Selection, new_id
from tests.benchmarks.filling import MODEL, Owner, fill
from tests.benchmarks.growth import QUESTION, Vectors
from tests.benchmarks.machine import read_machine
from tests.benchmarks.recall import EXACT, TOP_K
from tests.benchmarks.times import Times
from tests.databases import fetch, migrate, run_sql

CHUNKS = 100_000
CHUNKS_PER_DOCUMENT = 10
WARM_UP_QUERIES = 6
"""After five executions, PostgreSQL keeps a plan for all values."""
QUERIES = 40
PARTS = 10_000
"""Documents have numbers from 0 to this one, so a filter can keep each share of them."""
NUMBER = """
UPDATE documents SET metadata = jsonb_build_object('number', number)
FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM documents WHERE owner_id = $1) AS numbered
WHERE owner_id = $1 AND documents.id = numbered.id"""


def keep(share: float) -> dict[str, Any]:
    return {"key": "number", "op": "lt", "value": round(share * PARTS)}


THIRD_PAGE = {"key": "page", "op": "eq", "value": 3}
FILTERS: dict[str, tuple[float, dict[str, Any] | None]] = {
    "none": (1, None),
    "50 %": (0.5, keep(0.5)),
    "1 %": (0.01, keep(0.01)),
    "0.01 %": (0.0001, keep(0.0001)),
    "one page of each document": (0.1, THIRD_PAGE),
    "one page of 1 % of the documents": (0.001, {"and": [THIRD_PAGE, keep(0.01)]}),
}
"""The share of the passages that each filter keeps, and the filter."""


@dataclass(frozen=True)
class FilterRow:
    """A row of the table. Times are p50 in milliseconds, by mode."""

    name: str
    kept: int
    """Number of passages that the filter keeps."""
    incomplete: int
    """Number of searches by vectors that found neither `TOP_K` passages nor all."""
    recall: float
    """Share of the nearest passages that a search by vectors finds."""
    milliseconds: dict[str, float]


async def ask(
    database: Database,
    owner: Owner,
    mode: SearchMode,
    selection: Selection,
    vectors: np.ndarray,
    bounds: SearchBounds = DEFAULT_BOUNDS,
) -> tuple[Times, list[set[UUID]]]:
    """Return the times of searches, and the ids of the passages that each has found."""
    times = Times()
    found: list[set[UUID]] = []
    for number, vector in enumerate(vectors):
        asked = None if mode == SearchMode.KEYWORD else vector
        text = QUESTION.format(number)
        query = PassageQuery(owner.id, mode, text, asked, MODEL, TOP_K, selection=selection, bounds=bounds)
        started = time.perf_counter()
        async with database.statement() as connection:
            passages = await find_passages(connection, query)
        if number >= WARM_UP_QUERIES:
            times.each.append(time.perf_counter() - started)
            found.append({passage.id for passage in passages})
    return times, found


async def compare(database: Database, owner: Owner, name: str, vectors: np.ndarray) -> FilterRow:
    """Search with one filter in each mode."""
    share, written = FILTERS[name]
    selection = Selection(filter=decode(written)) if written else EVERYTHING
    results = {mode: await ask(database, owner, mode, selection, vectors) for mode in SearchMode}
    _, exact = await ask(database, owner, SearchMode.VECTOR, selection, vectors, EXACT)
    kept = round(share * owner.chunks)
    wanted = min(TOP_K, kept)
    _, chosen = results[SearchMode.VECTOR]
    return FilterRow(
        name=name,
        kept=kept,
        incomplete=sum(len(ids) != wanted for ids in chosen),
        recall=float(np.mean([len(one & other) / wanted for one, other in zip(chosen, exact, strict=True)])),
        milliseconds={mode.value: 1000 * times.p50 for mode, (times, _) in results.items()},
    )


def make_owner() -> Owner:
    return Owner(new_id(), CHUNKS, CHUNKS_PER_DOCUMENT, chunks_per_page=1)


async def prepare(url: str, owner: Owner) -> None:
    """Add the owner, with numbered documents of as many pages as passages, and another owner."""
    await fill(url, {owner: Vectors(seed=1), Owner(new_id(), CHUNKS): Vectors(seed=2)})
    await fetch(url, NUMBER, owner.id)
    await fetch(url, "VACUUM ANALYZE documents")


async def measure(url: str, owner: Owner, queries: int = QUERIES) -> list[FilterRow]:
    database = Database(url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=600)
    vectors = Vectors(seed=3).draw(WARM_UP_QUERIES + queries)
    try:
        return [await compare(database, owner, name, vectors) for name in FILTERS]
    finally:
        await database.close()


def write(file: Path, rows: Sequence[FilterRow]) -> None:
    file.parent.mkdir(exist_ok=True)
    result = {"machine": asdict(read_machine()), "chunks": CHUNKS, "rows": [asdict(row) for row in rows]}
    file.write_text(json.dumps(result, indent=2) + "\n")


def print_rows(rows: Sequence[FilterRow]) -> None:
    table = Table("filter keeps", "passages", "incomplete", f"recall@{TOP_K}", *(f"{mode}, ms" for mode in SearchMode))
    for row in rows:
        times = [f"{row.milliseconds[mode]:.1f}" for mode in SearchMode]
        table.add_row(row.name, f"{row.kept:,}", str(row.incomplete), f"{row.recall:.3f}", *times)
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.filtering", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(".bench/filters.json"), help="file for the table")
    options = parser.parse_args()
    owner = make_owner()
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        open_place(Path(folder)) as place,
        run_postgres(place) as server,
    ):
        run_sql(server.url, "CREATE DATABASE filters")
        database_url = server.url.replace("/postgres?", "/filters?")
        migrate(database_url, "head")
        asyncio.run(prepare(database_url, owner))
        rows = asyncio.run(measure(database_url, owner))
    write(options.output, rows)
    print_rows(rows)


if __name__ == "__main__":
    main()
