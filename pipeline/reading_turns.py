"""Turns of the event streams of an account: one reads at a time, so that many streams cost others little."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

PAUSE_SECONDS = 0.1
"""Pause of an account after a full batch, which takes about 20 ms to read and send."""


class ReadingTurns:
    """Lets one stream of each account read at a time. Others of the account wait in the order in which they came."""

    def __init__(self, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._pause_seconds = pause_seconds
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, owner_id: UUID) -> AsyncIterator[None]:
        """Wait for the turn of this stream, and keep it until the block ends."""
        lock = self._locks.setdefault(owner_id, asyncio.Lock())
        async with lock:
            yield

    async def pause(self) -> None:
        """Wait before the turn ends, after much was read, so that others are served meanwhile."""
        await asyncio.sleep(self._pause_seconds)
