"""Accounts."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import Document, Note, User
from pipeline.types import Account


@dataclass(frozen=True, slots=True)
class UserSummary:
    """An account, as shown to the operator."""

    id: UUID
    email: str
    created_at: datetime
    documents: int
    notes: int


async def add(session: AsyncSession, user_id: UUID, email: str, password_hash: str) -> Account:
    """Insert an account.

    Raises sqlalchemy.exc.IntegrityError if the address already has an account.
    """
    result = await session.execute(
        insert(User).values(id=user_id, email=email, password_hash=password_hash).returning(User.created_at)
    )
    return Account(user_id, email, result.scalar_one())


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    """Return the account with this lower-case address, including the password hash."""
    return await session.scalar(select(User).where(User.email == email))


async def find(session: AsyncSession, user_id: UUID) -> Account | None:
    """Return the account with this id."""
    user = await session.get(User, user_id)
    return Account(user.id, user.email, user.created_at) if user else None


async def list_all(session: AsyncSession) -> list[UserSummary]:
    """Return all accounts, oldest first. Row-level security must not apply to the session."""
    documents = select(func.count()).where(Document.owner_id == User.id).scalar_subquery()
    notes = select(func.count()).where(Note.owner_id == User.id).scalar_subquery()
    rows = await session.execute(select(User.id, User.email, User.created_at, documents, notes).order_by(User.id))
    return [UserSummary(*row) for row in rows]


async def find_token_generation(session: AsyncSession, user_id: UUID) -> int | None:
    """Return the generation of the account's valid tokens, or None if the account does not exist."""
    generation: int | None = await session.scalar(select(User.token_generation).where(User.id == user_id))
    return generation


async def lock(session: AsyncSession, user_id: UUID) -> User | None:
    """Return the account, and keep uploads and new notes of it waiting until the end of the transaction."""
    return await session.scalar(select(User).where(User.id == user_id).with_for_update())


async def set_password(session: AsyncSession, user_id: UUID, password_hash: str, replaced_hash: str) -> int | None:
    """Replace the password hash of an account and end its tokens. Return the generation of the next tokens.

    Return None, and change nothing, if the account is gone or has another hash than `replaced_hash`.
    """
    generation: int | None = await session.scalar(
        update(User)
        .where(User.id == user_id, User.password_hash == replaced_hash)
        .values(password_hash=password_hash, token_generation=User.token_generation + 1)
        .returning(User.token_generation)
    )
    return generation


async def delete(session: AsyncSession, user_id: UUID) -> None:
    """Delete an account. Foreign keys delete its documents, notes and chunks."""
    await session.execute(delete_rows(User).where(User.id == user_id))
