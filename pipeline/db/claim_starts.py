"""Where in the queue a worker process begins to look for a job.

A claimed job leaves a dead entry in the index of the queue. While a long transaction anywhere on the server holds
vacuum back, a claim that begins at the first entry reads all of them. So a process begins at the job that it claimed
last. Every few seconds, and whenever it finds nothing, it begins at the first entry, because jobs return to the queue
at their old place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from uuid import UUID

WHOLE_QUEUE_SECONDS = 5.0
"""Time after which a claim begins at the first entry again. A job that returned to a busy queue waits this much longer
at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs a claim takes. See `pipeline.db.queue.claim`."""

    alone: bool
    only_short: bool
    background: bool
    guest_of: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a job in the order of the queue."""

    virtual_start: int
    queued_at: datetime


class ClaimStarts:
    """The place of the last claimed job, separately for claims that want other jobs."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._places: dict[Wanted, Place] = {}
        self._read_whole_at: dict[Wanted, float] = {}

    def find(self, wanted: Wanted) -> Place | None:
        """Return the place at which the next claim begins, or None if it is the first entry."""
        read_at = self._read_whole_at.get(wanted)
        is_old = read_at is None or self._clock() - read_at >= WHOLE_QUEUE_SECONDS
        return None if is_old else self._places.get(wanted)

    def remember(self, wanted: Wanted, claimed: Place, start: Place | None) -> None:
        """Remember the place of a claimed job, found from `start`."""
        self._places[wanted] = claimed
        if start is None:
            self._read_whole_at[wanted] = self._clock()
