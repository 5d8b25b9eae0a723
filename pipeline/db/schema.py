"""Which migration the database is at, and the password of the role that the service uses."""

import asyncpg
from sqlalchemy import column, select, table
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import SERVICE_ROLE
from pipeline.db.session import translate_absence

_alembic_version = table("alembic_version", column("version_num"))


async def read_revision(session: AsyncSession) -> str | None:
    """Revision of the schema; None where no migration has ever run."""
    try:
        revision: str | None = await session.scalar(select(_alembic_version.c.version_num))
    except ProgrammingError:
        return None
    return revision


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
