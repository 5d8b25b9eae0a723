"""Queue positions for event streams: read once for all streams of a process, not once for each stream."""

from collections.abc import Callable, Mapping
from time import monotonic
from uuid import UUID

from pipeline.db import queue
from pipeline.db.session import Database
from pipeline.shared_reading import SharedReading

MAX_AGE_SECONDS = 1.0
"""Age at which the positions are read again."""

QueuePositions = SharedReading[Mapping[UUID, int]]
"""The positions, counted from 1, of the documents and notes at the front of the queue."""


def share_positions(database: Database, clock: Callable[[], float] = monotonic) -> QueuePositions:
    """Return a reading of the positions at the front of the queue. It raises DatabaseUnavailable."""

    async def compute() -> Mapping[UUID, int]:
        async with database.transaction() as session:
            front = await queue.list_front(session)
        return {subject_id: position for position, subject_id in enumerate(front, start=1)}

    return SharedReading(compute, seconds=MAX_AGE_SECONDS, clock=clock)
