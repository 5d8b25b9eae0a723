"""Whether an API key is valid: it must exist and not have expired. Nothing here needs Redis.

A revoked key must stop within a second in every process. So a process believes for `seconds` only what it has read, and
checks long requests as often. A long request ends after twice `seconds` and the time of a read at the latest.
"""

import asyncio
from collections import OrderedDict
from contextlib import nullcontext

from async_lru import alru_cache

from pipeline.db import api_keys
from pipeline.db.api_keys import USE_INTERVAL, FoundKey, hash_secret
from pipeline.db.session import Database
from pipeline.errors import DatabaseUnavailable, NotAuthenticated
from pipeline.fair_queue import FairQueue
from pipeline.logs import get_logger
from pipeline.types import Caller, KeyGrant

MAX_KEYS = 10_000
"""Maximum number of keys that a process remembers."""
FIRST_READS_AT_ONCE = 2
"""Maximum number of reads at the same time for secrets that this process has not accepted before. A flood of invented
secrets must leave connections to others."""
FIRST_READS_WAITING, FIRST_READS_WAITING_PER_NETWORK = 1000, 200

log = get_logger()


class ApiKeys:
    """Checks API keys. A process reads each of them once in `seconds`, in one round trip to PostgreSQL."""

    def __init__(self, database: Database, *, seconds: float) -> None:
        self._database = database
        self._find = alru_cache(maxsize=MAX_KEYS, ttl=seconds)(self._read)
        self._note_use = alru_cache(maxsize=MAX_KEYS, ttl=USE_INTERVAL.total_seconds())(self._write_use)
        self._accepted: OrderedDict[bytes, None] = OrderedDict()
        """Hashes of the secrets accepted last, at most `MAX_KEYS`."""
        self._first_reads = FairQueue(
            at_once=FIRST_READS_AT_ONCE,
            waiting=FIRST_READS_WAITING,
            waiting_per_caller=FIRST_READS_WAITING_PER_NETWORK,
        )
        self.writing: set[asyncio.Task[None]] = set()
        """Writes of last uses that have not ended."""

    async def accept(self, secret: str, network: str) -> tuple[bytes, KeyGrant]:
        """Return the hash of a secret, for later checks, and what the key allows. `network` is that of the client.

        Raises the errors of `require_current`, and Overloaded if too many unknown keys are waiting.
        """
        digest = hash_secret(secret)
        async with nullcontext() if digest in self._accepted else self._first_reads.turn(network):
            grant = await self.require_current(digest)
        self._accepted[digest] = None
        self._accepted.move_to_end(digest)
        if len(self._accepted) > MAX_KEYS:
            self._accepted.popitem(last=False)
        return digest, grant

    async def require_current(self, digest: bytes) -> KeyGrant:
        """Return what the key with this hash allows.

        Raises NotAuthenticated if it does not exist or has expired, or DatabaseUnavailable if it cannot be read.
        """
        found = await self._find(digest)
        if found is None:
            message = "This API key is not valid. It was revoked, or it never existed."
            raise NotAuthenticated(message, code="invalid_token")
        if found.has_expired:
            raise NotAuthenticated("This API key has expired. Create another one.", code="token_expired")
        return found.grant

    def forget(self) -> None:
        """Read every key again for its next check."""
        self._find.cache_clear()

    async def close(self) -> None:
        """End the writes of last uses."""
        for task in self.writing:
            task.cancel()
        await asyncio.gather(*self.writing, return_exceptions=True)

    async def _read(self, digest: bytes) -> FoundKey | None:
        async with self._database.statement() as connection:
            found = await api_keys.find(connection, digest)
        if found and found.is_use_due and not found.has_expired:
            # No request waits for this, and none fails because of it.
            task = asyncio.create_task(self._note_use(found.grant.caller))
            self.writing.add(task)
            task.add_done_callback(self.writing.discard)
        return found

    async def _write_use(self, caller: Caller) -> None:
        try:
            async with self._database.transaction(caller) as session:
                await api_keys.note_use(session, caller)
        except DatabaseUnavailable as error:
            log.warning("api_key.use_not_written", api_key_id=str(caller.key_id), cause=repr(error.__cause__))
