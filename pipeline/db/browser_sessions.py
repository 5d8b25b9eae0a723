"""Sessions that a browser keeps over a reload. Each has one valid refresh token at a time, named by its number."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import BigInteger, cast, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import BrowserSession, User
from pipeline.types import Identity, Refresh, new_id

LIFETIME = timedelta(days=30)
"""Time after its last use at which a session ends."""
MAX_SESSIONS = 50
"""Maximum number of sessions of an account. A further one ends the one used longest ago."""

_EXPIRES = cast(func.extract("epoch", BrowserSession.expires_at), BigInteger)


@dataclass(frozen=True, slots=True)
class Current:
    """The current state of a session."""

    refresh: Refresh
    """The valid token."""
    generation: int
    age: timedelta
    """Time since the valid token was issued."""


async def add(session: AsyncSession, identity: Identity) -> Refresh | None:
    """Begin a session, and delete those of the account that have ended. Return its first token.

    Return None if the account is gone or its password has changed meanwhile.
    """
    owner_id = identity.user_id
    now = func.date_trunc("second", func.clock_timestamp())
    account = select(User.id, literal(new_id()), User.token_generation, now, now + LIFETIME)
    account = account.where(User.id == owner_id, User.token_generation == identity.generation)
    columns = ["owner_id", "id", "generation", "renewed_at", "expires_at"]
    added = insert(BrowserSession).from_select(columns, account)
    row = (await session.execute(added.returning(BrowserSession.id, BrowserSession.number, _EXPIRES))).one_or_none()
    latest = select(BrowserSession.id).where(BrowserSession.owner_id == owner_id)
    latest = latest.where(BrowserSession.expires_at > func.clock_timestamp())
    latest = latest.where(BrowserSession.generation == identity.generation)
    latest = latest.order_by(BrowserSession.renewed_at.desc(), BrowserSession.id.desc()).limit(MAX_SESSIONS)
    await session.execute(
        delete(BrowserSession).where(BrowserSession.owner_id == owner_id, BrowserSession.id.not_in(latest))
    )
    return Refresh(owner_id, *row) if row else None


async def lock(session: AsyncSession, owner_id: UUID, session_id: UUID) -> Current | None:
    """Return the state of a session, and let others that use it wait until the end of the transaction.

    Return None if it has ended, also by a new password.
    """
    statement = (
        select(
            BrowserSession.number,
            _EXPIRES,
            BrowserSession.generation,
            func.clock_timestamp() - BrowserSession.renewed_at,
        )
        .join(User, User.id == BrowserSession.owner_id)
        .where(BrowserSession.owner_id == owner_id, BrowserSession.id == session_id)
        .where(BrowserSession.generation == User.token_generation, BrowserSession.expires_at > func.clock_timestamp())
        .with_for_update(of=BrowserSession)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    number, expires, generation, age = row
    return Current(Refresh(owner_id, session_id, number, expires), generation, age)


async def renew(session: AsyncSession, refresh: Refresh) -> Refresh:
    """Replace the valid token of a locked session by the next one, and return it."""
    now = func.clock_timestamp()
    number, expires = (
        await session.execute(
            update(BrowserSession)
            .where(BrowserSession.owner_id == refresh.owner_id, BrowserSession.id == refresh.session_id)
            .values(
                number=BrowserSession.number + 1, renewed_at=now, expires_at=func.date_trunc("second", now) + LIFETIME
            )
            .returning(BrowserSession.number, _EXPIRES)
        )
    ).one()
    return Refresh(refresh.owner_id, refresh.session_id, number, expires)


async def remove(session: AsyncSession, owner_id: UUID, session_id: UUID) -> bool:
    """End a session. Return False if it had ended before."""
    statement = delete(BrowserSession).where(BrowserSession.owner_id == owner_id, BrowserSession.id == session_id)
    return (await session.execute(statement.returning(BrowserSession.id))).one_or_none() is not None
