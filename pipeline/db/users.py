"""Accounts."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, cast, func, insert, select, true, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import LateralFromClause

from pipeline.db.audit import Event
from pipeline.db.models import AuditLog, Document, Note, User
from pipeline.types import Account


@dataclass(frozen=True, slots=True)
class UserSummary:
    """An account and its use of the service, as shown to the operator."""

    id: UUID
    email: str
    created_at: datetime
    last_login_at: datetime | None
    documents: int
    notes: int
    passages: int
    bytes: int
    """Size of the original files and of the notes' texts. Extracted text and vectors come on top."""


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
    documents, notes = _measure(Document), _measure(Note)
    last_login = (
        select(AuditLog.created_at)
        .where(AuditLog.actor_user_id == User.id, AuditLog.event_type == Event.LOGIN)
        .order_by(AuditLog.created_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = await session.execute(
        select(
            User.id,
            User.email,
            User.created_at,
            last_login,
            documents.c.number,
            notes.c.number,
            documents.c.passages + notes.c.passages,
            documents.c.bytes + notes.c.bytes,
        )
        .select_from(User)
        .join(documents, true())
        .join(notes, true())
        .order_by(User.id)
    )
    return [UserSummary(*row) for row in rows]


def _measure(model: type[Document] | type[Note]) -> LateralFromClause:
    """Return the number, passages and bytes of an account's documents or notes."""
    return (
        select(
            func.count().label("number"),
            func.coalesce(func.sum(model.chunks), 0).label("passages"),
            cast(func.coalesce(func.sum(model.size_bytes), 0), BigInteger).label("bytes"),
        )
        .where(model.owner_id == User.id)
        .lateral()
    )


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


async def replace_hash(session: AsyncSession, user_id: UUID, password_hash: str, replaced_hash: str) -> None:
    """Store another hash of the same password, unless the password has changed meanwhile. Tokens stay valid."""
    await session.execute(
        update(User).where(User.id == user_id, User.password_hash == replaced_hash).values(password_hash=password_hash)
    )


async def delete(session: AsyncSession, user_id: UUID) -> None:
    """Delete an account. Foreign keys delete its documents, notes and chunks."""
    await session.execute(delete_rows(User).where(User.id == user_id))
