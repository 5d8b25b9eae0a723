"""Extends the leases of this process from a separate thread, so that a blocked event loop does not lose them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from pipeline.db import queue
from pipeline.db.session import Database
from pipeline.errors import DatabaseUnavailable, LeaseLost
from pipeline.logs import get_logger
from pipeline.threads import make_executor

BEATS_PER_LEASE = 3
"""Number of beats within the duration of one lease."""

log = get_logger()


@dataclass
class HeldLease:
    """A lease that is extended while its work makes progress."""

    progressed_at: float
    is_lost: bool = False

    def touch(self) -> None:
        """Record that the work has made progress.

        Raises LeaseLost if the lease is lost.
        """
        if self.is_lost:
            raise LeaseLost
        self.progressed_at = monotonic()


class Heartbeat:
    """Extends leases three times within their duration.

    The lease of a job that has made no progress for `stall_seconds` is no longer extended. It expires, and another
    worker runs the job, as if this process had died.
    """

    def __init__(self, url: str, *, lease_seconds: float, stall_seconds: float, is_pooled: bool = False) -> None:
        self._url = url
        self._is_pooled = is_pooled
        self._lease_seconds = lease_seconds
        self._stall_seconds = stall_seconds
        self._held: dict[UUID, HeldLease] = {}
        self._stop = threading.Event()
        self.turned_at = monotonic()
        """Time of the last beat or failed beat, by the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """False if the thread has ended, for example by a programming error."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(timeout=self._lease_seconds)

    @contextmanager
    def hold(self, token: UUID) -> Iterator[HeldLease]:
        """Extend the lease with this token until the block ends."""
        held = HeldLease(progressed_at=monotonic())
        self._held[token] = held
        try:
            yield held
        finally:
            del self._held[token]

    def _run(self) -> None:
        # A separate event loop and connection, so that a blocked main loop does not delay a beat.
        asyncio.run(self._beat_until_stopped())

    async def _beat_until_stopped(self) -> None:
        asyncio.get_running_loop().set_default_executor(make_executor(1))
        interval = self._lease_seconds / BEATS_PER_LEASE
        timeout_seconds = max(1.0, interval / 2)
        database = Database(self._url, pool_size=1, timeout_seconds=timeout_seconds, is_pooled=self._is_pooled)
        while not self._stop.is_set():
            self.turned_at = started = monotonic()
            try:
                await self._beat(database)
            except DatabaseUnavailable as error:
                log.warning("heartbeat.missed", cause=repr(error.__cause__))
            await asyncio.to_thread(self._stop.wait, max(0.0, started + interval - monotonic()))
        await database.close()

    async def _beat(self, database: Database) -> None:
        now = monotonic()
        held = {token: one for token, one in list(self._held.items()) if not one.is_lost}
        progressing = [token for token, one in held.items() if now - one.progressed_at < self._stall_seconds]
        if not progressing:
            return
        async with database.transaction() as session:
            still_held = await queue.extend(session, progressing, self._lease_seconds)
        for token in progressing:
            if token not in still_held and token in self._held:
                held[token].is_lost = True
