"""Connections and transactions, and the one place that knows how "the database is away" looks."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import asyncpg
from sqlalchemy import event, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from pipeline.db.models import EMAIL_SETTING, SERVICE_ROLE, USER_SETTING
from pipeline.errors import DatabaseUnavailable, StorageFull

AWAY_CLASSES = ("08", "28", "3D", "53", "57P")
"""SQLSTATE prefixes: connection exceptions, not let in, no such database, no resources, operator intervention."""
AWAY_STATES = ("22023", "55000", "25006", "40P01", "55P03", "57014", "25P03", "25P04")
"""No service role yet, no connections accepted, read-only, deadlock, timeouts of locks, statements and transactions."""

DISK_FULL = "53100"

IDLE_IN_TRANSACTION_SECONDS = 10


class Database:
    """A pool of connections. All its errors of absence are DatabaseUnavailable.

    They act as the service's role; without a `role`, for the operator's commands, as whoever the URL names.
    """

    def __init__(self, url: str, *, pool_size: int, timeout_seconds: float, role: str | None = SERVICE_ROLE) -> None:
        self._engine = _create_engine(url, pool_size=pool_size, timeout_seconds=timeout_seconds, role=role)
        self._autocommitting = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self, user_id: UUID | None = None) -> AsyncIterator[AsyncSession]:
        """Session in a transaction: committed at the end, rolled back on any error.

        Row-level security shows it the rows of `user_id` and nobody else's; without one, no owned row at all.
        Raises DatabaseUnavailable where PostgreSQL is away or too slow, StorageFull where its disk is full.
        """
        with translate_absence():
            async with self._sessions.begin() as session:
                if user_id is not None:
                    await act_for(session, user_id)
                yield session

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """Connection of which every statement is a transaction by itself, and sees the rows of whom it acts for.

        Raises what `transaction` raises.
        """
        with translate_absence():
            async with self._autocommitting.connect() as connection:
                yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def act_for(session: AsyncSession, user_id: UUID) -> None:
    """From here to the end of its transaction the session sees and writes the rows of this user."""
    await session.execute(select(func.set_config(USER_SETTING, str(user_id), True)))


async def act_for_email(session: AsyncSession, email: str) -> None:
    """The same for somebody who logs in: of all accounts, the session sees the one with this address."""
    await session.execute(select(func.set_config(EMAIL_SETTING, email, True)))


def _create_engine(url: str, *, pool_size: int, timeout_seconds: float, role: str | None) -> AsyncEngine:
    milliseconds = str(int(timeout_seconds * 1000))
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        connect_args={
            # asyncpg's own limits are the only ones that return when the server is black-holed.
            "timeout": timeout_seconds,
            "command_timeout": timeout_seconds,
            "server_settings": {
                "application_name": "sluice",
                # Whoever we log in as: no owner of tables, no superuser, and so bound by row-level security.
                **({"role": role} if role else {}),
                "jit": "off",
                # A search does not tell the planner whose chunks it reads: beside a huge owner it would read them all.
                "enable_seqscan": "off",
                # It takes an owner for small, and would rather sort all of a large one's vectors than ask their index.
                "enable_sort": "off",
                "statement_timeout": milliseconds,
                "lock_timeout": milliseconds,
                "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_SECONDS * 1000),
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: DBAPIConnection, _record: object, _proxy: object) -> None:
    """Let the pool replace a connection that its server has left: known without asking, as a ping would have to."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


@contextmanager
def translate_absence() -> Iterator[None]:
    """Turn the many faces of an absent PostgreSQL into DatabaseUnavailable."""
    try:
        yield
    except (PoolTimeoutError, InterfaceError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise DatabaseUnavailable("The database does not answer. Try again in a moment.") from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        if _get_state(error) == DISK_FULL:
            raise StorageFull from error
        if not _is_absence(error):
            raise
        raise DatabaseUnavailable("The database cannot serve this now. Try again in a moment.") from error


def _is_absence(error: DBAPIError | asyncpg.PostgresError) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = _get_state(error)
    return state.startswith(AWAY_CLASSES) or state in AWAY_STATES


def _get_state(error: DBAPIError | asyncpg.PostgresError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) or ""
