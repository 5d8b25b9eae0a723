"""Sends the events of all accounts, beside the claim loop of a worker. A slow receiver delays only its own events."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pipeline import metrics
from pipeline.db import deliveries
from pipeline.db.deliveries import Attempt, Message, StreamLease
from pipeline.db.session import Database
from pipeline.errors import DatabaseUnavailable, LeaseLost
from pipeline.logs import get_logger
from pipeline.types import Caller, DeliveryStatus
from pipeline.webhooks.sender import Sender

AT_ONCE = 32
"""Maximum number of events that a worker process sends at the same time."""
AT_ONCE_PER_OWNER = 4
"""Maximum number of those of one account, so that its dead receivers do not occupy all places."""
RETRIES_AT_ONCE = 16
"""Maximum number of those that have failed before, so that dead receivers do not delay new events of others."""
TRANSACTIONS_AT_ONCE = 2
"""Maximum number of connections to PostgreSQL for outcomes. The others are for documents."""
OUTAGE_SECONDS = 1.0
"""Pause before the next try while the database is down."""
STOP_SECONDS = 2.0
"""Time in which a stopping worker gives its jobs back. After that, their leases expire."""

log = get_logger()


@dataclass(frozen=True)
class Schedule:
    """When a delivery that has failed is tried again. With the defaults, the tries extend over 25 hours."""

    first_pause: float = 5.0
    """Seconds before the second try. Each further pause is twice as long as the one before."""
    longest_pause: float = 4 * 3600.0
    """Longest pause in seconds."""
    jitter: float = 0.2
    """Share of a pause that is added at random, at most."""
    attempts: int = 18
    """Number of tries after which a delivery is dead."""

    def find_pause(self, failures: int) -> timedelta | None:
        """Return the pause after this number of failures, or None after the last try."""
        if failures >= self.attempts:
            return None
        pause = min(self.first_pause * 2 ** (failures - 1), self.longest_pause)
        return timedelta(seconds=pause * (1 + random.uniform(0, self.jitter)))  # noqa: S311 - spreads the load


class Deliverer:
    """Claims jobs that deliver events, and sends them."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        hold: Callable[[UUID], AbstractContextManager[object]],
        *,
        lease_seconds: float,
        poll_seconds: float,
        schedule: Schedule | None = None,
    ) -> None:
        """`hold` extends the lease with a token for as long as the context is open."""
        self._database = database
        self._sender = sender
        self._hold = hold
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._schedule = schedule or Schedule()
        self._changed = asyncio.Event()
        self._transactions = asyncio.Semaphore(TRANSACTIONS_AT_ONCE)
        self._running: dict[asyncio.Task[None], StreamLease] = {}

    def wake(self) -> None:
        """Make it look for jobs now."""
        self._changed.set()

    async def run(self) -> None:
        """Send events until it is cancelled. Jobs whose event is being sent are then given back."""
        try:
            while True:
                self._changed.clear()
                try:
                    while len(self._running) < AT_ONCE and await self._claim_one():
                        pass
                except DatabaseUnavailable:
                    await asyncio.sleep(OUTAGE_SECONDS)  # the claim loop logs the outage
                    continue
                await self._sleep()
        finally:
            await self._stop()
            await self._sender.close()

    async def _sleep(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._changed.wait()

    async def _claim_one(self) -> bool:
        """Claim a job and begin to send its first event. Return False if none is due."""
        numbers = Counter(lease.owner_id for lease in self._running.values())
        busy = [owner_id for owner_id, number in numbers.items() if number >= AT_ONCE_PER_OWNER]
        retries = sum(lease.failures > 0 for lease in self._running.values())
        async with self._database.transaction() as session:
            only_new = retries >= RETRIES_AT_ONCE
            lease = await deliveries.claim(session, self._lease_seconds, busy=busy, only_new=only_new)
            if lease is None:
                return False
            message = await deliveries.find_next(session, lease)
            if message is None:  # for example because the receiver was deleted
                await deliveries.close(session, lease)
                return True
        task = asyncio.create_task(self._deliver(lease, message))
        self._running[task] = lease
        task.add_done_callback(self._forget)
        return True

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._changed.set()
        if not task.cancelled() and (error := task.exception()):
            # The lease expires, and the event is sent again.
            log.error("webhook.crashed", exc_info=error)

    async def _deliver(self, lease: StreamLease, message: Message) -> None:
        with self._hold(lease.token):
            attempt = await self._sender.send(message)
            pause = self._schedule.find_pause(message.attempts + 1)
            while True:
                try:
                    await self._finish(lease, message, attempt, pause)
                except DatabaseUnavailable:
                    await asyncio.sleep(OUTAGE_SECONDS)
                except LeaseLost:
                    return  # another worker sends it again, or the receiver was deleted
                else:
                    return

    async def _finish(self, lease: StreamLease, message: Message, attempt: Attempt, pause: timedelta | None) -> None:
        async with self._transactions, self._database.transaction(Caller(lease.owner_id)) as session:
            status = await deliveries.finish(session, lease, message, attempt, pause)
        outcome = "failed" if status == DeliveryStatus.PENDING else str(status)
        metrics.WEBHOOK_DELIVERIES.labels(outcome).inc()
        if status != DeliveryStatus.DELIVERED:
            # Neither the address nor the answer of the receiver is logged.
            log.info(
                "webhook.failed",
                is_dead=status == DeliveryStatus.DEAD,
                webhook_id=str(message.webhook_id),
                delivery_id=str(message.id),
                attempts=message.attempts + 1,
                response_status=attempt.response_status,
            )

    async def _stop(self) -> None:
        """End the requests, and give their jobs back, so that another worker sends the events at once."""
        running = dict(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        with suppress(TimeoutError, DatabaseUnavailable):
            async with asyncio.timeout(STOP_SECONDS), self._database.transaction() as session:
                for lease in running.values():
                    await deliveries.give_back(session, lease)
