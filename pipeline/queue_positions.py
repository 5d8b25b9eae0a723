"""Queue positions for event streams: read once for all streams of a process, not once for each stream."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from uuid import UUID

from pipeline.db import queue
from pipeline.db.session import Database

MAX_AGE_SECONDS = 1.0
"""Age at which the positions are read again."""


class QueuePositions:
    """The positions at the front of the queue, at most a second old."""

    def __init__(self, database: Database, clock: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = asyncio.Lock()
        self._positions: Mapping[UUID, int] = {}
        self._read_at: float | None = None

    async def read(self) -> Mapping[UUID, int]:
        """Return the positions, counted from 1, of the documents and notes at the front of the queue.

        Raises DatabaseUnavailable.
        """
        async with self._lock:
            if self._read_at is None or self._clock() - self._read_at >= MAX_AGE_SECONDS:
                async with self._database.transaction() as session:
                    front = await queue.list_front(session)
                self._positions = {subject_id: position for position, subject_id in enumerate(front, start=1)}
                self._read_at = self._clock()
            return self._positions
