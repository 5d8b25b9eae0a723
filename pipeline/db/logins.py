"""The pause after failed logins. It is kept in PostgreSQL so that it also works without Redis."""

from datetime import timedelta

from sqlalchemy import delete, func, not_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import LoginFailure

WINDOW = timedelta(minutes=15)
"""Time after the last failure at which the failures of an account from an address are forgotten."""
FAILURES_BEFORE_PAUSE = 5
"""Number of failures after which the first pause starts."""
FIRST_PAUSE_SECONDS = 5
LONGEST_PAUSE_SECONDS = 120


async def find_pause(session: AsyncSession, email: str, address: str) -> float:
    """Return the seconds until this address may try this account again, or 0 if it may now."""
    left = func.extract("epoch", LoginFailure.paused_until - func.clock_timestamp())
    seconds = await session.scalar(select(left).where(LoginFailure.email == email, LoginFailure.address == address))
    # A longer pause was stored before the clock stepped back.
    return float(seconds) if seconds and 0 < seconds <= LONGEST_PAUSE_SECONDS else 0.0


async def record_failure(session: AsyncSession, email: str, address: str) -> None:
    """Count a failed login. The fifth one starts a pause, and every further one doubles it, up to 2 minutes."""
    now = func.clock_timestamp()
    await session.execute(delete(LoginFailure).where(not_(LoginFailure.last_failed_at.between(now - WINDOW, now))))
    counted = await session.scalar(
        insert(LoginFailure)
        .values(email=email, address=address, failures=1, last_failed_at=now, paused_until=now)
        .on_conflict_do_update(
            index_elements=["email", "address"],
            set_={"failures": LoginFailure.failures + 1, "last_failed_at": now},
        )
        .returning(LoginFailure.failures)
    )
    if counted is None or counted < FAILURES_BEFORE_PAUSE:
        return
    seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(counted - FAILURES_BEFORE_PAUSE, 10), LONGEST_PAUSE_SECONDS)
    await session.execute(
        update(LoginFailure)
        .where(LoginFailure.email == email, LoginFailure.address == address)
        .values(paused_until=now + timedelta(seconds=seconds))
    )


async def clear_failures(session: AsyncSession, email: str, address: str) -> None:
    """Delete the failures of an account from one address, after a successful login."""
    await session.execute(delete(LoginFailure).where(LoginFailure.email == email, LoginFailure.address == address))


async def clear_all_failures(session: AsyncSession, email: str) -> None:
    """Delete the failures of an account from all addresses, for the operator."""
    await session.execute(delete(LoginFailure).where(LoginFailure.email == email))
