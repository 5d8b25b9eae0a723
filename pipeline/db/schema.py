"""Which migration the database is at."""

from sqlalchemy import column, select, table
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

_alembic_version = table("alembic_version", column("version_num"))


async def read_revision(session: AsyncSession) -> str | None:
    """Revision of the schema; None where no migration has ever run."""
    try:
        revision: str | None = await session.scalar(select(_alembic_version.c.version_num))
    except ProgrammingError:
        return None
    return revision
