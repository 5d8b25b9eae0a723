"""The audit log. A row is written in the transaction of the action it records.

Rows are never changed, with one exception: those of a deleted account lose their details.
"""

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db.models import AuditLog
from pipeline.types import Caller, new_id


class Event(StrEnum):
    """Types of audited events."""

    REGISTER = "user.register"
    LOGIN = "user.login"
    LOGIN_FAILED = "user.login_failed"
    LOGOUT = "user.logout"
    SESSION_REUSED = "user.session_reused"
    PASSWORD_CHANGED = "user.password_changed"  # noqa: S105 - the name of an event
    DELETED = "user.deleted"
    INVITED = "user.invited"
    SET_PASSWORD = "user.set_password"  # noqa: S105 - the name of an event
    DELETE_USER = "user.delete"
    UPLOAD = "document.upload"
    UPDATE = "document.update"
    DELETE = "document.delete"
    RETRY = "document.retry"
    CREATE_COLLECTION = "collection.create"
    DELETE_COLLECTION = "collection.delete"
    QUERY = "rag.query"
    CREATE_KEY = "api_key.create"
    REVOKE_KEY = "api_key.revoke"
    WEBHOOK_CREATED = "webhook.create"
    WEBHOOK_DELETED = "webhook.delete"


async def record(session: AsyncSession, event: Event, actor: Caller | None, details: dict[str, Any]) -> None:
    """Add a row. `details` must not contain a password, a token, a key or a whole document."""
    user_id = actor.owner_id if actor else None
    details = name_key(actor, details) if actor else details
    await session.execute(
        insert(AuditLog).values(id=new_id(), actor_user_id=user_id, event_type=event, details=details)
    )


def name_key(actor: Caller, details: dict[str, Any]) -> dict[str, Any]:
    """Return the details of an action, with the id of the API key if it was done with one."""
    return details | {"api_key_id": str(actor.key_id)} if actor.key_id else details


async def anonymise(session: AsyncSession, user_id: UUID) -> None:
    """Empty the details of all rows of a deleted account. Types, times and the account's id stay.

    Raises sqlalchemy.exc.ProgrammingError if the account still exists.
    """
    await session.execute(select(func.sluice_anonymise_audit(user_id)))
