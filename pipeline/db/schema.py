"""The revision of the database's schema, facts about its server, its WAL, and the settings of the service role."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import asyncpg
from sqlalchemy import Integer, cast, column, func, literal_column, select, table
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.connection import ROLE_SETTINGS
from pipeline.db.models import SERVICE_ROLE
from pipeline.db.session import get_state, translate_database_errors

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"
UNDEFINED_TABLE = "42P01"
"""SQLSTATE of a table that does not exist."""

WAL_SEGMENTS = 5
"""Number of WAL segments of 16 MiB that PostgreSQL keeps for reuse, by its default `min_wal_size`."""

_extension = table("pg_extension", column("extname"), column("extversion"))
_alembic_version = table("alembic_version", column("version_num"))


@cache
def find_newest_revision() -> str:
    """Return the newest migration, which this code requires. The files of migrations begin with their numbers."""
    return max(path.name.split("_")[0] for path in MIGRATIONS.glob("[0-9]*_*.py"))


def compare_revision(revision: str | None) -> str:
    """Return `ok`, `behind`, or `ahead` if a newer release has migrated the database already."""
    newest = find_newest_revision()
    if revision == newest:
        return "ok"
    return "ahead" if revision and revision > newest else "behind"


async def read_revision(session: AsyncSession) -> str | None:
    """Return the revision of the schema, or None if no migration has ever run."""
    try:
        revision: str | None = await session.scalar(select(_alembic_version.c.version_num))
    except ProgrammingError as error:
        if get_state(error) != UNDEFINED_TABLE:
            raise
        return None
    return revision


async def is_read_only(session: AsyncSession) -> bool:
    """Return True if PostgreSQL accepts no changes."""
    return await session.scalar(select(func.current_setting("transaction_read_only"))) == "on"


@dataclass(frozen=True, slots=True)
class Server:
    """Facts about a session and its server."""

    version: str
    major_version: int
    vector_version: str | None
    """Version of pgvector, or None if it is not installed."""
    login: str
    """Role that logged in."""
    has_row_security: bool
    """True if row-level security applies to the session."""
    now: datetime


async def describe_server(session: AsyncSession) -> Server:
    """Return the server's versions and clock, and the session's role and rights.

    Raises sqlalchemy.exc.ProgrammingError if no migration has ever run.
    """
    vector_version = select(_extension.c.extversion).where(_extension.c.extname == "vector").scalar_subquery()
    row = await session.execute(
        select(
            func.current_setting("server_version"),
            cast(func.current_setting("server_version_num"), Integer) // 10_000,
            vector_version,
            literal_column("session_user"),
            func.row_security_active("chunks"),
            func.clock_timestamp(),
        )
    )
    return Server(*row.one())


async def prepare_service(owner_url: str, password: str | None) -> None:
    """Store the settings and, if given, the password of the service role, and forbid it temporary objects.

    None of this is part of a dump. Raises DatabaseUnavailable.
    """
    alter = f"ALTER ROLE {SERVICE_ROLE}"
    statements = [
        # Not from the service role alone, which has the right like everybody.
        ("format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database())", ()),
        *(
            (f"format('{alter} IN DATABASE %I SET {name} = %L', current_database(), $1::text)", (value,))
            for name, value in ROLE_SETTINGS.items()
        ),
    ]
    if password:
        statements.append((f"format('{alter} LOGIN PASSWORD %L', $1::text)", (password,)))
    with translate_database_errors():
        connection = await asyncpg.connect(owner_url.replace("+asyncpg", ""), timeout=10)
        try:
            for statement, arguments in statements:
                # These statements accept no bound parameters, so PostgreSQL's `format` quotes the values.
                await connection.execute(await connection.fetchval(f"SELECT {statement}", *arguments))
        finally:
            await connection.close()


async def reserve_wal(owner_url: str) -> None:
    """Make PostgreSQL create the WAL segments that it will reuse forever, if it has not created them yet.

    A new data folder has one segment. When it is used up on a full disk, PostgreSQL stops, and even reading is over.
    Raises DatabaseUnavailable.
    """
    with translate_database_errors():
        connection = await asyncpg.connect(owner_url.replace("+asyncpg", ""), timeout=10)
        try:
            missing = WAL_SEGMENTS - await connection.fetchval("SELECT count(*) FROM pg_ls_waldir()")
            for _ in range(missing):
                await connection.execute("SELECT pg_logical_emit_message(false, 'sluice', ''), pg_switch_wal()")
            if missing > 0:
                await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
