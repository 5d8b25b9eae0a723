"""Which migration the database is at, and the password of the role that the service uses."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg
from sqlalchemy import column, func, literal_column, select, table
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import SERVICE_ROLE
from pipeline.db.session import translate_absence

_extension = table("pg_extension", column("extname"), column("extversion"))
_alembic_version = table("alembic_version", column("version_num"))


async def read_revision(session: AsyncSession) -> str | None:
    """Revision of the schema; None where no migration has ever run."""
    try:
        revision: str | None = await session.scalar(select(_alembic_version.c.version_num))
    except ProgrammingError:
        return None
    return revision


@dataclass(frozen=True, slots=True)
class Server:
    """What a session sees of its server."""

    version: str
    vector_version: str | None
    """Of the extension pgvector; None where it is not installed."""
    login: str
    """Role that logged in."""
    is_bound: bool
    """Whether row-level security binds the session."""
    now: datetime


async def describe_server(session: AsyncSession) -> Server:
    """Look at the server, and at who we are there.

    Raises sqlalchemy.exc.ProgrammingError where no migration has ever run.
    """
    vector_version = select(_extension.c.extversion).where(_extension.c.extname == "vector").scalar_subquery()
    row = await session.execute(
        select(
            func.current_setting("server_version"),
            vector_version,
            literal_column("session_user"),
            func.row_security_active("chunks"),
            func.clock_timestamp(),
        )
    )
    return Server(*row.one())


async def set_service_password(owner_url: str, password: str) -> None:
    """Let the service role log in with this password.

    Raw SQL, for `ALTER ROLE` takes no bound parameter: PostgreSQL itself quotes the two values.
    Raises DatabaseUnavailable.
    """
    with translate_absence():
        connection = await asyncpg.connect(owner_url.replace("+asyncpg", ""), timeout=10)
        try:
            statement = await connection.fetchval(
                "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", SERVICE_ROLE, password
            )
            await connection.execute(statement)
        finally:
            await connection.close()
