"""Rows of accounts."""

from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import User
from pipeline.types import Account


async def add(session: AsyncSession, user_id: UUID, email: str, password_hash: str) -> Account:
    """Insert an account.

    Raises sqlalchemy.exc.IntegrityError where the address has one.
    """
    result = await session.execute(
        insert(User).values(id=user_id, email=email, password_hash=password_hash).returning(User.created_at)
    )
    return Account(user_id, email, result.scalar_one())


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    """The user with this address, in lower case, hash included."""
    return await session.scalar(select(User).where(User.email == email))


async def find(session: AsyncSession, user_id: UUID) -> Account | None:
    """The account with this id."""
    user = await session.get(User, user_id)
    return Account(user.id, user.email, user.created_at) if user else None
