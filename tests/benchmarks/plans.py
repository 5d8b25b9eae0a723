"""How PostgreSQL executes a search: the plans of the statement and of the functions that it calls."""

from pathlib import Path

from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from tests.databases import fetch

SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_nested_statements": "on",
}
"""With these, PostgreSQL writes EXPLAIN (ANALYZE, BUFFERS) of each statement to its log."""
RUNS = 7
"""After five runs, PostgreSQL may choose a plan for all values, which it then keeps."""


async def write_plans(url: str, query: PassageQuery, log: Path, file: Path) -> None:
    """Run a search several times, and write the plans of the last run to a file. `log` is PostgreSQL's log."""
    name = await fetch(url, "SELECT current_database()")
    for setting, value in SETTINGS.items():
        await fetch(url, f"ALTER DATABASE {name[0][0]} SET {setting} = '{value}'")
    database = Database(url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=3600)
    try:
        for _ in range(RUNS):
            begin = _measure(log)
            async with database.statement() as connection:
                await find_passages(connection, query)
    finally:
        await database.close()
        await fetch(url, f"ALTER DATABASE {name[0][0]} RESET ALL")
    _copy_end(log, begin, file)


def _measure(log: Path) -> int:
    return log.stat().st_size


def _copy_end(log: Path, begin: int, file: Path) -> None:
    file.write_bytes(log.read_bytes()[begin:])
