"""Connections of the service. Each is checked before its first use: it must act as the service role.

Some poolers drop the start-up parameters of a connection. Without the check, the service would then act as the role
that logged in, and a superuser's queries see the rows of all users.
"""

from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import func, literal, select, true
from sqlalchemy.dialects import postgresql

from pipeline.db.models import SERVICE_ROLE
from pipeline.errors import UnsafeDatabase
from pipeline.logs import get_logger

IDLE_IN_TRANSACTION_SECONDS = 10
"""Time after which PostgreSQL ends a session whose transaction runs no statement."""
POOLED_TIMEOUT_SECONDS = 60
"""Time limit of a statement that PgBouncer passes on. The processes cancel their statements earlier themselves."""

SESSION_SETTINGS = {
    "jit": "off",
    # The planner does not know whose chunks a search reads. If one owner has most of the table, it would scan the whole
    # table, even for a small owner.
    "enable_seqscan": "off",
    # The planner assumes that every owner has few chunks. For an owner with many, it would sort all vectors instead of
    # using the index.
    "enable_sort": "off",
    # The queue relies on it. With another level, concurrent transactions would fail instead of waiting.
    "default_transaction_isolation": "read committed",
}
"""Settings of every session of the service. The check requires them."""

ROLE_SETTINGS = SESSION_SETTINGS | {
    "statement_timeout": f"{POOLED_TIMEOUT_SECONDS}s",
    "lock_timeout": f"{POOLED_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
}
"""Settings that `migrate` stores on the role, for PgBouncer, which passes no start-up parameters on."""

MARK = "sluice.is_direct"
"""Start-up parameter that shows whether start-up parameters arrive."""

REFUSED_ROLE = (
    f"the role in DATABASE_URL may not act as {SERVICE_ROLE}: as the owner, run "
    f"GRANT {SERVICE_ROLE} TO the_role WITH SET TRUE, or name {SERVICE_ROLE} in DATABASE_URL"
)

log = get_logger()


def make_options(*, timeout_seconds: float, role: str | None, is_pooled: bool) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect` for a connection that acts as `role` or, without one, as the login."""
    # asyncpg's own timeouts are the only ones that work if the network drops all packets.
    options: dict[str, Any] = {"timeout": timeout_seconds, "command_timeout": timeout_seconds}
    if is_pooled:
        # Two statements of a connection may run in two sessions, and a prepared statement exists in one only.
        return options | {"statement_cache_size": 0, "server_settings": {"application_name": "sluice"}}
    # A search is planned once in a connection, however long its statement is.
    options |= {"max_cached_statement_lifetime": 0, "max_cacheable_statement_size": 0}
    milliseconds = str(int(timeout_seconds * 1000))
    timeouts = {
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
    }
    # Acts as the service role, whichever role logs in.
    acting = {"role": role, MARK: "on"} if role else {}
    return options | {"server_settings": {"application_name": "sluice", **acting, **SESSION_SETTINGS, **timeouts}}


async def connect(*arguments: Any, is_pooled: bool, **options: Any) -> Any:
    """Connect with the arguments of `asyncpg.connect`, and check the connection.

    Raises UnsafeDatabase if it does not act as the service role, and what asyncpg raises if there is no connection.
    """
    try:
        connection = await asyncpg.connect(*arguments, **options)
    except asyncpg.InsufficientPrivilegeError as error:
        raise _refuse(REFUSED_ROLE) from error
    try:
        # Through PgBouncer, preparing and executing reach the same session only within a transaction.
        async with connection.transaction():
            row = tuple(await connection.fetchrow(_CHECK))
        if reason := find_danger(*row, is_pooled=is_pooled):
            raise _refuse(reason)
    except BaseException:
        connection.terminate()
        raise
    return connection


def make_creator(*, is_pooled: bool) -> Any:
    """Return `connect` in the form in which SQLAlchemy calls it."""
    return partial(connect, is_pooled=is_pooled)


def find_danger(
    role: str, has_row_security: bool | None, mark: str | None, *settings: str, is_pooled: bool
) -> str | None:
    """Return why the service must not use a connection, or None. `has_row_security` is None if there are no tables."""
    if mark is None and not is_pooled:
        return f"the start-up parameters are lost and it acts as {role}: see PgBouncer in RUNBOOK.md"
    if role != SERVICE_ROLE:
        return f"the connection acts as {role}: name {SERVICE_ROLE} in DATABASE_URL"
    if has_row_security is False:
        return f"row-level security does not apply to {SERVICE_ROLE}: it must own no tables and be no superuser"
    wrong = [name for (name, value), found in zip(SESSION_SETTINGS.items(), settings, strict=True) if found != value]
    if wrong:
        return f"the connection lacks settings of the service ({', '.join(wrong)}): run python -m pipeline migrate"
    return None


def _refuse(reason: str) -> UnsafeDatabase:
    log.error("database.unsafe", reason=reason)
    return UnsafeDatabase(reason)


_CHECK = str(
    select(
        func.current_user(),
        func.row_security_active(func.to_regclass("chunks")),
        func.current_setting(MARK, true()),
        *(func.current_setting(literal(name)) for name in SESSION_SETTINGS),
    ).compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no types
)
