"""API keys: secrets with which programs act for an account. They end when they are revoked or expire.

A new password ends no key, because programs would stop working although nobody has seen their secrets.
"""

import secrets
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from pipeline.db import api_keys, audit, users
from pipeline.db.session import Database
from pipeline.errors import AccountGone, Conflict, FieldError, InvalidInput, NotFound
from pipeline.runtime import Runtime
from pipeline.types import ApiKey, ApiKeyList, Caller, KeyDraft, NewApiKey, new_id

PREFIX = "sk-"
"""Beginning of every secret. No access token begins like this."""
SECRET_BYTES = 32
MAX_KEYS = 100
"""Maximum number of keys of an account, expired ones included."""


def is_secret(token: str) -> bool:
    """Tell whether a bearer token is the secret of a key, and not an access token."""
    return token.startswith(PREFIX)


async def create(runtime: Runtime, caller: Caller, draft: KeyDraft) -> NewApiKey:
    """Create a key and return it with its secret, which cannot be shown again.

    Raises InvalidInput if it would expire in the past or the account has no such collection, Conflict if the account
    has too many keys, AccountGone.
    """
    draft = replace(draft, expires_at=_require_future(draft.expires_at))
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    try:
        async with runtime.database.transaction(caller) as session:
            if await users.lock(session, caller.owner_id) is None:
                raise AccountGone
            if await api_keys.count(session, caller.owner_id) >= MAX_KEYS:
                message = f"You have {MAX_KEYS} API keys, and more are not possible. Revoke one that you do not need."
                raise Conflict(message, code="too_many_keys")
            key = await api_keys.add(session, caller.owner_id, new_id(), secret, draft)
            await audit.record(session, audit.Event.CREATE_KEY, caller, _describe(key))
    except IntegrityError:
        problem = FieldError("collection_ids", "names a collection that does not exist")
        raise InvalidInput("The key cannot be bound to these collections.", errors=(problem,)) from None
    return NewApiKey(**asdict(key), secret=secret)


def _describe(key: ApiKey) -> dict[str, Any]:
    bound = {} if key.collection_ids is None else {"collection_ids": [str(each) for each in key.collection_ids]}
    return {"created_api_key_id": str(key.id), "name": key.name, "scopes": key.scopes, **bound}


def _require_future(expires_at: datetime | None) -> datetime | None:
    """Return the time in UTC. Raises InvalidInput if it is in the past, or later than a calendar goes."""
    if expires_at is None:
        return None
    with suppress(OverflowError):
        if expires_at > datetime.now(UTC):
            return expires_at.astimezone(UTC)
    problem = FieldError("expires_at", "must be a time in the future, before the year 10000")
    raise InvalidInput("This key would never be valid.", errors=(problem,))


async def get(runtime: Runtime, caller: Caller, key_id: UUID) -> ApiKey:
    """Return a key of the account.

    Raises NotFound if the account has no such key.
    """
    async with runtime.database.transaction(caller) as session:
        key = await api_keys.find_by_id(session, caller.owner_id, key_id)
    if key is None:
        raise _no_such_key()
    return key


async def list_page(runtime: Runtime, caller: Caller, *, limit: int, cursor: str | None) -> ApiKeyList:
    """Return a page of the account's keys, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        return await api_keys.list_page(session, caller.owner_id, limit=limit, cursor=cursor)


async def revoke(runtime: Runtime, caller: Caller, key_id: UUID) -> None:
    """Revoke a key. Its row is deleted, and the audit log keeps its name.

    Raises NotFound if the account has no such key.
    """
    async with runtime.database.transaction(caller) as session:
        name = await api_keys.revoke(session, caller.owner_id, key_id)
        if name is None:
            raise _no_such_key()
        details = {"revoked_api_key_id": str(key_id), "name": name}
        await audit.record(session, audit.Event.REVOKE_KEY, caller, details)


async def revoke_all(database: Database, email: str | None) -> int:
    """Revoke all keys of the account with this address, or of all accounts. Return their number. For the operator.

    Raises NotFound if no account has this address.
    """
    async with database.transaction() as session:
        user = await users.find_by_email(session, email.strip().lower()) if email else None
        if email and user is None:
            raise NotFound("No account has this e-mail address.")
        revoked = await api_keys.revoke_all(session, user.id if user else None)
        for key in revoked:
            details = {"user_id": str(key.owner_id), "revoked_api_key_id": str(key.key_id)}
            await audit.record(session, audit.Event.REVOKE_KEY, None, details)
    return len(revoked)


def _no_such_key() -> NotFound:
    return NotFound("This API key does not exist. Check its id.")
