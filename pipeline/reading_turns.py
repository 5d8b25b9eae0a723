"""Turns of event streams: one of an account reads at a time, and all together read slowly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

PAUSE_SECONDS = 0.1
"""Pause after a full batch, which takes about 20 ms to read and send."""


class ReadingTurns:
    """Lets one stream of each account read at a time. Others of the account wait in the order in which they came."""

    def __init__(self, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._pause_seconds = pause_seconds
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._pausing = asyncio.Lock()

    @asynccontextmanager
    async def take(self, owner_id: UUID) -> AsyncIterator[None]:
        """Wait for the turn of this stream, and keep it until the block ends."""
        lock = self._locks.setdefault(owner_id, asyncio.Lock())
        async with lock:
            yield

    async def pause(self) -> None:
        """Wait before the turn ends, after much was read. Pauses of different accounts follow each other."""
        async with self._pausing:
            await asyncio.sleep(self._pause_seconds)
