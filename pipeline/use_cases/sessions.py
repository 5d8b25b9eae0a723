"""Whether an access token is still valid: a new password or a deleted account ends it before it expires."""

from uuid import UUID

from async_lru import alru_cache

from pipeline.db import users
from pipeline.db.session import Database
from pipeline.errors import AccountGone, NotAuthenticated
from pipeline.types import Caller, Identity

MAX_ACCOUNTS = 10_000
"""Maximum number of accounts whose token generation a process remembers."""


class Sessions:
    """Checks tokens against the accounts' token generations. A process reads each of them once in `seconds`."""

    def __init__(self, database: Database, *, seconds: float) -> None:
        self._database = database
        self._generations = alru_cache(maxsize=MAX_ACCOUNTS, ttl=seconds)(self._read_generation)

    async def require_current(self, identity: Identity) -> None:
        """Check that the account exists and that its tokens of this generation have not ended.

        Raises AccountGone, NotAuthenticated, or DatabaseUnavailable if the generation must be read and cannot be.
        """
        generation = await self._generations(identity.user_id)
        if generation is not None and generation < identity.generation:
            # Another process has changed the password meanwhile.
            self.forget(identity.user_id)
            generation = await self._generations(identity.user_id)
        if generation is None:
            raise AccountGone
        if generation != identity.generation:
            raise NotAuthenticated(
                "This token has ended, because the password was changed. Log in again.", code="invalid_token"
            )

    def forget(self, user_id: UUID) -> None:
        """Read the generation of this account again for the next check."""
        self._generations.cache_invalidate(user_id)

    async def _read_generation(self, user_id: UUID) -> int | None:
        async with self._database.transaction(Caller(user_id)) as session:
            return await users.find_token_generation(session, user_id)
