"""Accounts: registration, login, and the operator's commands."""

import asyncio
import re
from math import ceil
from uuid import UUID

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import audit, logins, queue, users
from pipeline.db.models import User
from pipeline.db.session import Database, act_for_email
from pipeline.db.users import UserSummary
from pipeline.errors import (
    AccountGone,
    Conflict,
    FieldError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    StorageFull,
    TooManyRequests,
)
from pipeline.logs import get_logger
from pipeline.runtime import Runtime
from pipeline.types import Account, new_id

# The OWASP minimum for argon2id: 19 MiB, two passes, one lane.
_passwords = PasswordHash((Argon2Hasher(memory_cost=19 * 1024, time_cost=2, parallelism=1),))
_hashing = asyncio.Semaphore(2)
"""Limits concurrent hashing, because other requests need the CPU, too. A hash takes 50 ms and 19 MiB."""

# Hash of a random password. It is checked for unknown addresses, so that they take as long as known ones.
UNKNOWN_HASH = "$argon2id$v=19$m=19456,t=2,p=1$eofCFnXSzF+nD3fZrpgvRg$hlUbzORjlg3zpy5wZ0PXzw6nIs08bmubmx4KFDYPo/Y"

EMAIL_PATTERN = r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"
MAX_EMAIL_CHARACTERS = 254
MIN_PASSWORD_CHARACTERS, MAX_PASSWORD_CHARACTERS = 8, 1024

log = get_logger()


async def register(runtime: Runtime, email: str, password: str) -> Account:
    """Create an account.

    Raises InvalidInput if the address or password is not allowed, Conflict if the address already has an account.
    """
    return await add(runtime.database, email, password)


async def add(database: Database, email: str, password: str) -> Account:
    """Create an account, for its owner or for the operator.

    Raises InvalidInput if the address or password is not allowed, Conflict if the address already has an account.
    """
    email = email.strip().lower()
    if len(email) > MAX_EMAIL_CHARACTERS or not re.fullmatch(EMAIL_PATTERN, email):
        raise InvalidInput(
            "The e-mail address cannot be used.",
            errors=(FieldError("email", "must look like name@example.org"),),
        )
    password_hash = await _hash(password)
    try:
        user_id = new_id()
        async with database.transaction(user_id) as session:
            account = await users.add(session, user_id, email, password_hash)
            await audit.record(session, audit.Event.REGISTER, account.id, {"email": email})
    except IntegrityError:
        message = "An account with this e-mail address already exists. Log in instead."
        raise Conflict(message, code="email_taken") from None
    return account


async def list_all(database: Database) -> list[UserSummary]:
    """Return all accounts, oldest first. For the operator."""
    async with database.transaction() as session:
        return await users.list_all(session)


async def set_password(database: Database, email: str, password: str) -> None:
    """Replace a password, and lift the pause after failed logins. For the operator.

    Raises InvalidInput if the password is not allowed, NotFound if no account has this address.
    """
    password_hash = await _hash(password)
    async with database.transaction() as session:
        user = await _find(session, email)
        await users.set_password(session, user.id, password_hash)
        await logins.clear_all_failures(session, user.email)
        await audit.record(session, audit.Event.SET_PASSWORD, None, {"user_id": str(user.id), "email": user.email})


async def delete(database: Database, email: str) -> None:
    """Delete an account and all its data, except its rows in the audit log. For the operator.

    Raises NotFound if no account has this address.
    """
    async with database.transaction() as session:
        user = await _find(session, email)
        await users.delete(session, user.id)
        # After the user is deleted: an upload needs the user's row, so no more jobs can be added.
        await queue.discard_all(session, user.id)
        await logins.clear_all_failures(session, user.email)
        await audit.record(session, audit.Event.DELETE_USER, None, {"user_id": str(user.id), "email": user.email})


async def _find(session: AsyncSession, email: str) -> User:
    user = await users.find_by_email(session, email.strip().lower())
    if user is None:
        raise NotFound("No account has this e-mail address.")
    return user


async def authenticate(runtime: Runtime, email: str, password: str, address: str) -> Account:
    """Return the account with this e-mail address and password. `address` is the client's network address.

    Raises NotAuthenticated if the address is unknown or the password is wrong, with the same message and after the same
    time. Raises TooManyRequests after too many failures, whether the password is right or wrong.
    """
    email = email.strip().lower()
    # Logins queue here before they take database connections, which other requests need.
    async with _hashing:
        async with runtime.database.transaction() as session:
            pause = await logins.find_pause(session, email, address)
            await act_for_email(session, email)
            user = await users.find_by_email(session, email)
        if pause > 0:
            raise TooManyRequests(
                f"Too many failed logins. Try again in {ceil(pause)} seconds.",
                retry_after_seconds=pause,
                code="login_paused",
            )
        matches = await asyncio.to_thread(_verify, password, user.password_hash if user else UNKNOWN_HASH)
    if user is None or not matches:
        async with runtime.database.transaction(user.id if user else None) as session:
            actor = user.id if user else None
            await audit.record(session, audit.Event.LOGIN_FAILED, actor, {"email": email, "address": address})
            await logins.record_failure(session, email, address)
        raise NotAuthenticated("The e-mail address or the password is wrong.", code="invalid_credentials")
    try:
        async with runtime.database.transaction(user.id) as session:
            await audit.record(session, audit.Event.LOGIN, user.id, {"address": address})
            await logins.clear_failures(session, email, address)
    except StorageFull:
        # A full disk must not lock users out. A wrong password gets 507, because it cannot be counted.
        log.warning("audit.not_written", event_type=audit.Event.LOGIN, user_id=str(user.id))
    return Account(user.id, user.email, user.created_at)


async def get_account(runtime: Runtime, user_id: UUID) -> Account:
    """Return the account of a valid token.

    Raises AccountGone if the account was deleted.
    """
    async with runtime.database.transaction(user_id) as session:
        account = await users.find(session, user_id)
    if account is None:
        raise AccountGone
    return account


async def _hash(password: str) -> str:
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS or "\0" in password:
        raise InvalidInput(
            "The password cannot be used.",
            errors=(
                FieldError("password", f"must have {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters"),
            ),
        )
    async with _hashing:
        return await asyncio.to_thread(_passwords.hash, password)


def _verify(password: str, password_hash: str) -> bool:
    try:
        return _passwords.verify(password, password_hash)
    except UnknownHashError:
        return False
