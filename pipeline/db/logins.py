"""The pause after failed logins. It is kept in PostgreSQL so that it also works without Redis.

It counts the failures of an account from each network, and those from all networks together.
"""

import hashlib
from datetime import timedelta

from sqlalchemy import ColumnElement, Float, delete, exists, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import KnownNetwork, LoginFailure, LoginSlowdown

WINDOW = timedelta(minutes=15)
"""Time after the last failure at which the failures of an account from a network are forgotten."""
FAILURES_BEFORE_PAUSE = 5
"""Number of failures after which the first pause starts."""
FIRST_PAUSE_SECONDS = 5
LONGEST_PAUSE_SECONDS = 120
FAILURES_BEFORE_SLOWDOWN = 50
"""Number of failures from all networks after which an account is slowed down."""
SECONDS_PER_FAILURE = 72
"""Seconds after which one of those is forgotten. With 50 at once, at most 100 guesses an hour are possible."""
SLOWDOWN_WINDOW = timedelta(seconds=FAILURES_BEFORE_SLOWDOWN * SECONDS_PER_FAILURE)
"""Time after the last failure at which all of them are forgotten."""
MAX_NETWORKS = 20
"""Maximum number of networks that are remembered for an account."""
MAX_ROWS = 100_000
"""Maximum number of rows of each table that failures fill. Beyond it, the oldest failures are forgotten."""


async def find_pause(session: AsyncSession, email: str, network: str) -> float:
    """Return the seconds until this network may try this account again, or 0 if it may now."""
    left = func.extract("epoch", LoginFailure.paused_until - func.clock_timestamp())
    pause = select(left).where(LoginFailure.email == email, LoginFailure.address == network)
    wait = (_remaining_failures() + 1 - FAILURES_BEFORE_SLOWDOWN) * SECONDS_PER_FAILURE
    slowdown = select(wait).where(LoginSlowdown.email == email, ~_is_known(email, network))
    seconds = await session.scalar(select(func.greatest(pause.scalar_subquery(), slowdown.scalar_subquery())))
    return max(0.0, float(seconds or 0))


async def record_failure(session: AsyncSession, email: str, network: str, *, max_rows: int = MAX_ROWS) -> None:
    """Count a failed login. The fifth one of a network starts a pause.

    Every further one doubles the pause, up to 2 minutes. Old rows are deleted, and the oldest beyond `max_rows`.
    """
    await _forget_old_failures(session, max_rows)
    now = func.clock_timestamp()
    counted = await session.scalar(
        insert(LoginFailure)
        .values(email=email, address=network, failures=1, last_failed_at=now, paused_until=now)
        .on_conflict_do_update(
            index_elements=["email", "address"],
            set_={"failures": LoginFailure.failures + 1, "last_failed_at": now},
        )
        .returning(LoginFailure.failures)
    )
    await _pause(session, email, network, counted or 0)
    await session.execute(
        insert(LoginSlowdown)
        .values(email=email, failures=1.0, last_failed_at=now)
        .on_conflict_do_update(
            index_elements=["email"], set_={"failures": _remaining_failures() + 1, "last_failed_at": now}
        )
    )


async def record_success(session: AsyncSession, email: str, network: str) -> None:
    """Delete the failures of an account from one network, and remember the network."""
    await clear_failures(session, email, network)
    now = func.clock_timestamp()
    await session.execute(
        insert(KnownNetwork)
        .values(email=email, network_sha256=_digest(network), last_login_at=now)
        .on_conflict_do_update(index_elements=["email", "network_sha256"], set_={"last_login_at": now})
    )
    latest = select(KnownNetwork.network_sha256).where(KnownNetwork.email == email)
    latest = latest.order_by(KnownNetwork.last_login_at.desc()).limit(MAX_NETWORKS)
    await session.execute(
        delete(KnownNetwork).where(KnownNetwork.email == email, KnownNetwork.network_sha256.not_in(latest))
    )


async def clear_failures(session: AsyncSession, email: str, network: str) -> None:
    """Delete the failures of an account from one network."""
    await session.execute(delete(LoginFailure).where(LoginFailure.email == email, LoginFailure.address == network))


async def forget(session: AsyncSession, email: str) -> None:
    """Delete the failures of an account from all networks, and the networks from which it has logged in."""
    for table in (LoginFailure, LoginSlowdown, KnownNetwork):
        await session.execute(delete(table).where(table.email == email))


async def _pause(session: AsyncSession, email: str, network: str, failures: int) -> None:
    """Start the pause that this number of failures causes."""
    if failures < FAILURES_BEFORE_PAUSE:
        return
    seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - FAILURES_BEFORE_PAUSE, 10), LONGEST_PAUSE_SECONDS)
    await session.execute(
        update(LoginFailure)
        .where(LoginFailure.email == email, LoginFailure.address == network)
        .values(paused_until=func.clock_timestamp() + timedelta(seconds=seconds))
    )


async def _forget_old_failures(session: AsyncSession, max_rows: int) -> None:
    """Delete rows that no longer count, and the oldest ones beyond `max_rows`."""
    now = func.clock_timestamp()
    for table, window in ((LoginFailure, WINDOW), (LoginSlowdown, SLOWDOWN_WINDOW)):
        time = table.last_failed_at
        oldest_kept = select(time).order_by(time.desc()).offset(max_rows - 1).limit(1).scalar_subquery()
        key = tuple_(*table.__table__.primary_key)
        old = select(*table.__table__.primary_key).where((time < now - window) | (time < oldest_kept))
        # Another transaction may be deleting or changing the same rows. Waiting for it could be a deadlock.
        await session.execute(delete(table).where(key.in_(old.with_for_update(skip_locked=True))))


def _remaining_failures() -> ColumnElement[float]:
    """The failures of a slowdown, less those that are forgotten by now."""
    elapsed = func.extract("epoch", func.clock_timestamp() - LoginSlowdown.last_failed_at)
    return func.greatest(literal(0, Float), LoginSlowdown.failures - elapsed.cast(Float) / SECONDS_PER_FAILURE)


def _is_known(email: str, network: str) -> ColumnElement[bool]:
    return exists().where(KnownNetwork.email == email, KnownNetwork.network_sha256 == _digest(network))


def _digest(network: str) -> bytes:
    return hashlib.sha256(network.encode()).digest()
