"""Connections and transactions. Only this module knows which errors mean that the database is unavailable."""

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import String, bindparam, event, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.util import greenlet_spawn

from pipeline.db.connection import make_creator, make_options
from pipeline.db.direct import DirectConnection, make_compiler
from pipeline.db.models import COLLECTIONS_SETTING, EMAIL_SETTING, SERVICE_ROLE, USER_SETTING
from pipeline.errors import DatabaseUnavailable, ReadOnlyDatabase, StorageFull
from pipeline.types import Caller

UNAVAILABLE_CLASSES = ("08", "28", "3D", "53", "57P")
"""SQLSTATE classes: no connection, login refused, no such database, no resources left, stopped by an operator."""
UNAVAILABLE_STATES = ("22023", "55000", "40P01", "55P03", "57014", "25P03", "25P04")
"""SQLSTATEs: no service role yet, no connections accepted, deadlock, timeouts of locks, statements and
transactions."""

DISK_FULL = "53100"
"""SQLSTATE of a full disk."""
READ_ONLY = "25006"
"""SQLSTATE of a change in a read-only transaction."""
BROKEN_CONNECTION = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""asyncpg raises the second for a connection that PostgreSQL has ended, but that is not closed yet."""


class Database:
    """A pool of connections. If PostgreSQL is unavailable, its methods raise DatabaseUnavailable.

    The connections act as the service role, and each is checked before its first use. With `role=None`, for the
    operator's commands, they act as the role that the URL names. `is_pooled` means that the URL leads to PgBouncer in
    transaction mode.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        timeout_seconds: float,
        role: str | None = SERVICE_ROLE,
        is_pooled: bool = False,
    ) -> None:
        options = make_options(timeout_seconds=timeout_seconds, role=role, is_pooled=is_pooled)
        if role:
            options["async_creator_fn"] = make_creator(is_pooled=is_pooled)
        if is_pooled:
            options["prepared_statement_cache_size"] = 0  # of SQLAlchemy, besides asyncpg's own
        self._engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout_seconds,
            connect_args=options,
            hide_parameters=True,  # errors are logged
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        self._is_pooled = is_pooled
        self._compile = make_compiler(self._engine.dialect)
        self._sessions = async_sessionmaker(
            self._engine,
            expire_on_commit=False,
            # A session is over before anything reads again what it has changed.
            execution_options={"synchronize_session": False},
        )

    @asynccontextmanager
    async def transaction(self, caller: Caller | None = None) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction, which is committed at the end and rolled back on any error.

        Row-level security shows it only the rows of the caller's account, or of the collections to which the caller is
        bound. Without a caller it shows no owned row.
        Raises DatabaseUnavailable if PostgreSQL is unavailable or too slow, CannotWrite if its disk is full or it is
        read-only.
        """
        with translate_database_errors():
            async with self._sessions.begin() as session:
                if caller is not None:
                    await act_for(session, caller)
                yield session

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[DirectConnection]:
        """Open a connection for one statement, which is committed at once. It must set the user itself.

        Raises the same errors as `transaction`.
        """
        with translate_database_errors():
            async with self._borrow() as driver:
                connection = DirectConnection(driver, self._compile)
                if self._is_pooled:
                    # Without a transaction, PgBouncer could execute a statement in another session than it was
                    # prepared in.
                    async with driver.transaction():
                        yield connection
                else:
                    yield connection

    @asynccontextmanager
    async def _borrow(self) -> AsyncIterator[Any]:
        """Borrow a connection of asyncpg from the pool. If its state is not known afterwards, it is closed."""
        try:
            lent = await greenlet_spawn(self._engine.sync_engine.pool.connect)
        except self._engine.dialect.loaded_dbapi.Error as error:
            raise error.__cause__ or error from None
        driver: Any = lent.driver_connection
        try:
            yield driver
        except asyncpg.PostgresError:
            raise  # the connection is still of use, or closed
        except BaseException:
            driver.terminate()
            raise
        finally:
            await greenlet_spawn(lent.close)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


@asynccontextmanager
async def open_database(
    url: str, *, pool_size: int, timeout_seconds: float, role: str | None = SERVICE_ROLE
) -> AsyncIterator[Database]:
    """Open a pool of connections, and close it at the end."""
    database = Database(url, pool_size=pool_size, timeout_seconds=timeout_seconds, role=role)
    try:
        yield database
    finally:
        await database.close()


_BIND = select(func.set_config(COLLECTIONS_SETTING, bindparam("collections", type_=String), True))
_ACT_FOR = select(func.set_config(USER_SETTING, bindparam("user", type_=String), True))


async def act_for(session: AsyncSession, caller: Caller) -> None:
    """Let the session see and write the rows of this caller until the end of its transaction."""
    await session.execute(_ACT_FOR, {"user": str(caller.owner_id)})
    if caller.collection_ids is not None:
        await session.execute(_BIND, {"collections": write_collections(caller.collection_ids)})


def write_collections(collection_ids: Collection[UUID] | None) -> str:
    """Return the value of COLLECTIONS_SETTING for a caller that is bound to these collections, or not bound."""
    return "" if collection_ids is None else f"{{{','.join(map(str, collection_ids))}}}"


@asynccontextmanager
async def see_account(session: AsyncSession, caller: Caller) -> AsyncIterator[None]:
    """Let the session see all rows of the account within the block, also if the caller is bound to collections.

    For what concerns the whole account, such as its quotas. Nothing of it may reach the caller.
    """
    if caller.collection_ids is None:
        yield
        return
    await session.execute(_BIND, {"collections": ""})
    yield
    await session.execute(_BIND, {"collections": write_collections(caller.collection_ids)})


async def act_for_email(session: AsyncSession, email: str) -> None:
    """Let the session see the account with this address until the end of its transaction, for a login."""
    await session.execute(select(func.set_config(EMAIL_SETTING, email, True)))


def _refuse_closed(connection: DBAPIConnection, _record: object, _proxy: object) -> None:
    """Make the pool replace a connection that the server has closed. Unlike a ping, this costs no round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Raise DatabaseUnavailable for errors that mean PostgreSQL is unavailable, or CannotWrite if it stores nothing."""
    try:
        yield
    except (PoolTimeoutError, InterfaceError, *BROKEN_CONNECTION, OSError, TimeoutError) as error:
        raise DatabaseUnavailable("The database does not respond. Try again in a moment.") from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        if get_state(error) == DISK_FULL:
            raise StorageFull from error
        if get_state(error) == READ_ONLY:
            raise ReadOnlyDatabase from error
        if not _means_unavailable(error):
            raise
        raise DatabaseUnavailable("The database cannot serve this request now. Try again in a moment.") from error


def _means_unavailable(error: DBAPIError | asyncpg.PostgresError) -> bool:
    if isinstance(error, DBAPIError) and (error.connection_invalidated or _is_broken(error)):
        return True
    state = get_state(error)
    return state.startswith(UNAVAILABLE_CLASSES) or state in UNAVAILABLE_STATES


def _is_broken(error: DBAPIError) -> bool:
    """Return True if the connection was ended before it could be used. SQLAlchemy calls this an internal error."""
    return error.orig is not None and isinstance(error.orig.__cause__, BROKEN_CONNECTION)


def get_state(error: DBAPIError | asyncpg.PostgresError) -> str:
    """Return the SQLSTATE of an error, or an empty string if it has none."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) or ""
