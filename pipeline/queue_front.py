"""The front of the queue, for event streams: read once for all streams of a process, not once for each stream."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from pipeline.db import queue
from pipeline.db.session import Database
from pipeline.shared_reading import SharedReading

MAX_AGE_SECONDS = 1.0
"""Age at which the front is read again."""
ID_BYTES = 16
MAX_NEXT = 20
"""Maximum number of an owner's next documents."""


@dataclass(frozen=True, slots=True)
class QueueFront:
    """The documents and notes at the front of the queue."""

    ids: bytes
    """16 bytes for each, in the order of the queue."""
    owners: bytes
    """16 bytes for the owner of each document, and zeros for each note."""
    positions: Mapping[bytes, int]
    """The position of each, counted from 1, by the 16 bytes of its id."""

    def list_next(self, owner_id: UUID) -> dict[UUID, int]:
        """Return the positions of the owner's next documents, at most MAX_NEXT, in the order of the queue."""
        found: dict[UUID, int] = {}
        start = 0
        while len(found) < MAX_NEXT and (start := self.owners.find(owner_id.bytes, start)) >= 0:
            index, rest = divmod(start, ID_BYTES)
            if rest == 0:  # otherwise the bytes belong to two owners
                found[UUID(bytes=self.ids[start : start + ID_BYTES])] = index + 1
            start += 1
        return found


SharedFront = SharedReading[QueueFront]


def share_front(database: Database, clock: Callable[[], float] = monotonic) -> SharedFront:
    """Return a reading of the front of the queue. It raises DatabaseUnavailable."""

    async def compute() -> QueueFront:
        async with database.transaction() as session:
            ids, owners = await queue.list_front(session)
        starts = range(0, len(ids), ID_BYTES)
        return QueueFront(ids, owners, {ids[start : start + ID_BYTES]: start // ID_BYTES + 1 for start in starts})

    return SharedReading(compute, seconds=MAX_AGE_SECONDS, clock=clock)
