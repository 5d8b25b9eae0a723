"""Accounts: registration, login, and the operator's commands."""

import asyncio
import re
from contextlib import suppress
from math import ceil
from uuid import UUID

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import audit, invitations, logins, queue, storage, users
from pipeline.db.models import User
from pipeline.db.session import Database, act_for_email, open_database
from pipeline.db.users import UserSummary
from pipeline.errors import (
    AccountGone,
    CannotWrite,
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    Overloaded,
    TooManyRequests,
)
from pipeline.logs import get_logger
from pipeline.networks import find_network
from pipeline.passwords import is_common, normalize
from pipeline.runtime import Runtime
from pipeline.types import Account, AccountDetails, Caller, Identity, new_id
from pipeline.use_cases import quotas

# The OWASP minimum for argon2id: 19 MiB, two passes, one lane.
_passwords = PasswordHash((Argon2Hasher(memory_cost=19 * 1024, time_cost=2, parallelism=1),))

# A hash of which nobody knows a password, because all its bits are zero. It is checked for unknown addresses, so that
# they take as long as known ones, and belongs to accounts in which nobody logs in.
UNKNOWN_HASH = "$argon2id$v=19$m=19456,t=2,p=1$eofCFnXSzF+nD3fZrpgvRg$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

EMAIL_PATTERN = r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"
MAX_EMAIL_CHARACTERS = 254
MIN_PASSWORD_CHARACTERS, MAX_PASSWORD_CHARACTERS = 8, 1024
DELETION_TIMEOUT_SECONDS = 60.0
"""Time limit of the statement that deletes an account. It takes long if the account has many documents."""

log = get_logger()


async def register(runtime: Runtime, email: str, password: str, address: str, invitation: str | None = None) -> Account:
    """Create an account. An invitation is used up, even if registration is open.

    `address` is the client's network address. Raises Forbidden if registration is closed and there is no invitation,
    Overloaded, and the errors of `add`.
    """
    if invitation is None and runtime.settings.registration == "closed":
        message = "Registration is closed. Ask the operator of this service for an invitation link."
        raise Forbidden(message, code="registration_closed")
    email = _clean_email(email)
    await _require_invitation(runtime.database, invitation)
    async with runtime.hashing_queue.turn(find_network(address)):
        password_hash = await _hash(password)
    return await _add(runtime.database, email, password_hash, invitation)


async def add(database: Database, email: str, password: str) -> Account:
    """Create an account, for the operator.

    Raises InvalidInput if the address or password is not allowed, Conflict if the address already has an account.
    """
    return await _add(database, _clean_email(email), await _hash(password))


def _clean_email(email: str) -> str:
    email = email.strip().lower()
    if len(email) > MAX_EMAIL_CHARACTERS or not re.fullmatch(EMAIL_PATTERN, email):
        raise InvalidInput(
            "The e-mail address cannot be used.",
            errors=(FieldError("email", "must look like name@example.org"),),
        )
    return email


async def _add(database: Database, email: str, password_hash: str, invitation: str | None = None) -> Account:
    """Create an account.

    Raises Conflict if the address already has an account, Forbidden if the invitation cannot be used.
    """
    try:
        user_id = new_id()
        async with database.transaction(Caller(user_id)) as session:
            details = {"email": email, **await _redeem(session, invitation)}
            account = await users.add(session, user_id, email, password_hash)
            await audit.record(session, audit.Event.REGISTER, Caller(account.id), details)
    except IntegrityError:
        message = "An account with this e-mail address already exists. Log in instead."
        raise Conflict(message, code="email_taken") from None
    return account


async def _require_invitation(database: Database, invitation: str | None) -> None:
    """Check the invitation, if there is one, before the costly hash of a password. It is not used up.

    Raises Forbidden if it cannot be used.
    """
    async with database.transaction() as session:
        attempt = await session.begin_nested()
        await _redeem(session, invitation)
        await attempt.rollback()


async def _redeem(session: AsyncSession, invitation: str | None) -> dict[str, str]:
    """Use up the invitation, if there is one, and return it for the audit row."""
    if invitation is None:
        return {}
    invitation_id = await invitations.redeem(session, invitation)
    if invitation_id is None:
        message = "This invitation was used before or has expired. Ask the operator of this service for another one."
        raise Forbidden(message, code="invitation_invalid")
    return {"invitation_id": str(invitation_id)}


async def list_all(database: Database) -> list[UserSummary]:
    """Return all accounts, oldest first. For the operator."""
    async with database.transaction() as session:
        return await users.list_all(session)


async def set_password(database: Database, email: str, password: str) -> None:
    """Replace a password, end all tokens of the account and lift the pause after failed logins. For the operator.

    Raises InvalidInput if the password is not allowed, NotFound if no account has this address.
    """
    password_hash = await _hash(password)
    async with database.transaction() as session:
        user = await _lock_by_email(session, email)
        await users.set_password(session, user.id, password_hash, user.password_hash)
        await logins.forget(session, user.email)
        await audit.record(session, audit.Event.SET_PASSWORD, None, {"user_id": str(user.id)})


async def delete(database: Database, email: str) -> None:
    """Delete an account and all its data. Its rows of the audit log stay, without their details. For the operator.

    Raises NotFound if no account has this address.
    """
    async with database.transaction() as session:
        user = await _lock_by_email(session, email)
        await _erase(session, user)
        await audit.record(session, audit.Event.DELETE_USER, None, {"user_id": str(user.id)})


async def _lock_by_email(session: AsyncSession, email: str) -> User:
    found = await users.find_by_email(session, email.strip().lower())
    user = await users.lock(session, found.id) if found else None
    if user is None:
        raise NotFound("No account has this e-mail address.")
    return user


async def _erase(session: AsyncSession, user: User) -> None:
    """Delete a locked account and all its data, and the details of its audit rows."""
    # Jobs before documents: the order of locks that `pipeline.db.queue` defines.
    await queue.discard_all(session, user.id)
    await users.delete(session, user.id)
    # Retries do not lock the account, and may have queued jobs meanwhile.
    await queue.discard_all(session, user.id)
    await logins.forget(session, user.email)
    await audit.anonymise(session, user.id)


def is_recent(runtime: Runtime, email: str, address: str) -> bool:
    """Return whether this account has logged in from the network of this address since this process started."""
    return runtime.recent_logins.includes(email.strip().lower(), find_network(address))


async def imitate_check(runtime: Runtime, password: str, address: str) -> None:
    """Take as long as the check of a wrong password. Return at once if too many of this network are waiting."""
    with suppress(Overloaded):
        async with runtime.hashing_queue.turn(find_network(address)):
            await asyncio.to_thread(_verify, password, UNKNOWN_HASH)


async def authenticate(runtime: Runtime, email: str, password: str, address: str) -> Identity:
    """Return the account with this e-mail address and password. `address` is the client's network address.

    Raises NotAuthenticated if the address is unknown or the password is wrong, with the same message and after the same
    time. Raises TooManyRequests after too many failures, whether the password is right or wrong, and Overloaded if too
    many logins are waiting.
    """
    email, network = email.strip().lower(), find_network(address)
    # Who has logged in from this network before does not wait behind others there.
    caller = f"{network} {email}" if is_recent(runtime, email, address) else network
    async with runtime.hashing_queue.turn(caller):
        user = await _check_password(runtime, email, password, address)
        new_hash = await _renew_hash(password, user.password_hash)
    runtime.recent_logins.remember(email, network)
    try:
        async with runtime.database.transaction(Caller(user.id)) as session:
            await audit.record(session, audit.Event.LOGIN, Caller(user.id), {"address": address})
            await logins.record_success(session, user.email, network)
            if new_hash:
                await users.replace_hash(session, user.id, new_hash, user.password_hash)
    except CannotWrite:
        # A full disk or a read-only database must not lock users out. A wrong password gets the error, because it
        # cannot be counted.
        log.warning("audit.not_written", event_type=audit.Event.LOGIN, user_id=str(user.id))
    # If the password is being changed, this generation is over, and so is the token.
    return Identity(user.id, user.token_generation)


async def change_password(
    runtime: Runtime, user_id: UUID, current_password: str, new_password: str, address: str
) -> Identity:
    """Replace the user's password and end all tokens of the account. Return whom to issue the next token for.

    Raises Forbidden if the current password is wrong, InvalidInput if the new one is not allowed, AccountGone, and
    TooManyRequests after too many wrong passwords.
    """
    user = await _confirm(runtime, user_id, current_password, address)
    async with runtime.hashing_queue.turn(str(user_id)):
        password_hash = await _hash(new_password, field="new_password")
    async with runtime.database.transaction(Caller(user_id)) as session:
        generation = await users.set_password(session, user_id, password_hash, user.password_hash)
        if generation is None:
            raise _wrong_password()
        await logins.clear_failures(session, user.email, find_network(address))
        await audit.record(session, audit.Event.PASSWORD_CHANGED, Caller(user_id), {"address": address})
    return Identity(user_id, generation)


async def delete_own(runtime: Runtime, user_id: UUID, password: str, address: str) -> None:
    """Delete the user's account and all its data. Its rows of the audit log stay, without their details.

    Raises Forbidden if the password is wrong, AccountGone, and TooManyRequests after too many wrong passwords.
    """
    user = await _confirm(runtime, user_id, password, address)
    url = runtime.settings.sqlalchemy_url
    async with (
        open_database(url, pool_size=1, timeout_seconds=DELETION_TIMEOUT_SECONDS) as database,
        database.transaction(Caller(user_id)) as session,
    ):
        locked = await users.lock(session, user_id)
        if locked is None:
            raise AccountGone
        if locked.password_hash != user.password_hash:
            raise _wrong_password()
        await _erase(session, locked)
        await audit.record(session, audit.Event.DELETED, Caller(user_id), {})


async def _confirm(runtime: Runtime, user_id: UUID, password: str, address: str) -> User:
    """Return the user's account if the password is right. A wrong one counts as a failed login."""
    account = await get_account(runtime, user_id)
    try:
        async with runtime.hashing_queue.turn(str(user_id)):
            return await _check_password(runtime, account.email, password, address)
    except NotAuthenticated:
        # Not 401: the token is valid.
        raise _wrong_password() from None


def _wrong_password() -> Forbidden:
    return Forbidden("The current password is wrong. Nothing was changed.", code="wrong_password")


async def _check_password(runtime: Runtime, email: str, password: str, address: str) -> User:
    """Return the account with this lower-case e-mail address and this password. The caller has its turn to hash.

    Raises NotAuthenticated, or TooManyRequests after too many failures.
    """
    network = find_network(address)
    async with runtime.database.transaction() as session:
        pause = await logins.find_pause(session, email, network)
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
        actor = Caller(user.id) if user else None
        async with runtime.database.transaction(actor) as session:
            await audit.record(session, audit.Event.LOGIN_FAILED, actor, {"email": email, "address": address})
            await logins.record_failure(session, email, network)
        raise NotAuthenticated("The e-mail address or the password is wrong.", code="invalid_credentials")
    return user


async def get_account(runtime: Runtime, user_id: UUID) -> Account:
    """Return the account of a valid token.

    Raises AccountGone if the account was deleted.
    """
    async with runtime.database.transaction(Caller(user_id)) as session:
        account = await users.find(session, user_id)
    if account is None:
        raise AccountGone
    return account


async def get_details(runtime: Runtime, user_id: UUID) -> AccountDetails:
    """Return the account of a valid token, with what it stores and its quotas.

    Raises AccountGone if the account was deleted.
    """
    async with runtime.database.transaction(Caller(user_id)) as session:
        account = await users.find(session, user_id)
        stored = await storage.measure(session, user_id)
    if account is None:
        raise AccountGone
    usage = quotas.describe(runtime.settings, stored)
    return AccountDetails(account.id, account.email, account.created_at, usage)


async def _hash(password: str, *, field: str = "password") -> str:
    """Return the hash of a new password. Raises InvalidInput, which names `field`, if it is not allowed."""
    normalized = normalize(password)
    if is_common(normalized):
        reason = "is one of the most common passwords; choose one that is harder to guess"
        raise InvalidInput("The password cannot be used.", errors=(FieldError(field, reason),))
    if len(normalized) < MIN_PASSWORD_CHARACTERS or len(password) > MAX_PASSWORD_CHARACTERS or "\0" in password:
        raise InvalidInput(
            "The password cannot be used.",
            errors=(FieldError(field, f"must have {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters"),),
        )
    return await asyncio.to_thread(_passwords.hash, normalized)


async def _renew_hash(password: str, password_hash: str) -> str | None:
    """Return a new hash of a right password if the hash was made without normalization, as earlier releases did."""
    normalized = normalize(password)
    if normalized == password or await asyncio.to_thread(_matches, normalized, password_hash):
        return None
    return await asyncio.to_thread(_passwords.hash, normalized)


def _verify(password: str, password_hash: str) -> bool:
    """Return whether the password is right. Earlier releases did not normalize it.

    The time depends on the password that was sent only, so it does not tell whether there is an account.
    """
    forms = dict.fromkeys((normalize(password), password))
    return any(_matches(form, password_hash) for form in forms)


def _matches(password: str, password_hash: str) -> bool:
    try:
        return _passwords.verify(password, password_hash)
    except UnknownHashError:
        return False
