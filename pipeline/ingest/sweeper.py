"""Finds lost leases by observation. No clock is compared with a stored time, so steps of the clocks do no harm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from uuid import UUID

from pipeline.db import queue
from pipeline.db.session import Database

SWEEPS_PER_LEASE = 10
LONGEST_INTERVAL_SECONDS = 1.0
"""Longest interval between two sweeps."""
LONGEST_GAP_SHARE = 0.25
"""Share of a lease. More time between two sweeps does not count as observed."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """The end of a lease as it was first seen, and how long this process had observed before."""

    lease_until: datetime
    since: float


class Sweeper:
    """Takes jobs from workers that send no heartbeats.

    A lease is lost if this process has seen it unchanged for `lease_seconds` of its own monotonic clock. Each
    heartbeat changes the lease. While PostgreSQL is down or this process is paused, it sees nothing, and workers may be
    unable to send heartbeats. Such time hardly counts.
    """

    def __init__(self, database: Database, lease_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._seen: dict[UUID, Sighting] = {}
        self._swept_at = clock()
        self._observed = 0.0

    @property
    def interval(self) -> float:
        """Seconds between two sweeps."""
        return min(LONGEST_INTERVAL_SECONDS, self._lease_seconds / SWEEPS_PER_LEASE)

    async def sweep(self) -> int:
        """Look at all leases, and return the jobs whose leases are lost to the queue. Return the number of jobs.

        Raises DatabaseUnavailable.
        """
        async with self._database.transaction() as session:
            lost = self._observe(await queue.list_leases(session))
            return await queue.take_back(session, lost) if lost else 0

    def _observe(self, leases: Mapping[UUID, datetime]) -> dict[UUID, datetime]:
        """Return those of the leases that have not changed for the length of a lease."""
        now = self._clock()
        self._observed += min(now - self._swept_at, LONGEST_GAP_SHARE * self._lease_seconds)
        self._swept_at = now
        self._seen = {token: self._find_sighting(token, until) for token, until in leases.items()}
        return {
            token: sighting.lease_until
            for token, sighting in self._seen.items()
            if self._observed - sighting.since >= self._lease_seconds
        }

    def _find_sighting(self, token: UUID, lease_until: datetime) -> Sighting:
        seen = self._seen.get(token)
        return seen if seen and seen.lease_until == lease_until else Sighting(lease_until, self._observed)
