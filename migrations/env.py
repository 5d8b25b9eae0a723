"""Alembic's environment: runs the migrations over asyncpg, as the owner of the tables."""

import asyncio

from alembic import context
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from pipeline.db.models import Base
from pipeline.settings import load_settings

MIGRATING = (8, 3)
"""Advisory lock of the session that migrates."""
WAIT_SECONDS = 0.2
"""Pause between two tries to get it."""


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def lock(connection: AsyncConnection) -> None:
    """Wait until no other command migrates this database. Then there may be nothing left to do."""
    # A session that waits within a statement would block `CREATE INDEX CONCURRENTLY` of the session that migrates.
    while not await connection.scalar(select(func.pg_try_advisory_lock(*MIGRATING))):
        await connection.rollback()
        await asyncio.sleep(WAIT_SECONDS)
    await connection.commit()


async def connect_and_run() -> None:
    engine = create_async_engine(load_settings().owner_url, poolclass=NullPool)
    async with engine.connect() as connection:
        await lock(connection)
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("offline mode is not supported: run alembic against the database")
asyncio.run(connect_and_run())
