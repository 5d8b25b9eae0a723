"""The claim loop of a worker process."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from math import inf
from time import monotonic

import structlog

from pipeline import metrics
from pipeline.db import queue
from pipeline.db.claim_starts import ClaimStarts
from pipeline.embedding.helpers import Helpers
from pipeline.errors import DatabaseUnavailable
from pipeline.ingest.executor import ingest
from pipeline.ingest.faults import make_fault
from pipeline.ingest.heartbeat import Heartbeat
from pipeline.ingest.progress import StageReporter
from pipeline.ingest.sweeper import Sweeper
from pipeline.ingest.words import renew_outdated
from pipeline.logs import get_logger
from pipeline.runtime import WORKER_DATABASE_TIMEOUT_SECONDS, Runtime, open_runtime
from pipeline.settings import Settings
from pipeline.types import Lease
from pipeline.webhooks.deliverer import Deliverer, Schedule
from pipeline.webhooks.sender import Sender

FINISH_SECONDS = 6.0
"""Grace period for the running jobs of a stopping worker, before it gives them back."""
GUEST_SECONDS = 1.0
"""Minimum time between two looks for a guest: a job of an account that has none of the slots, if all are taken."""
YIELD_SECONDS = 0.1
"""Time after a claim in which this worker claims short jobs only, so that idle workers get the long ones."""
OUTAGE_SECONDS = 1.0
"""Pause before the next try to claim a job while the database is down."""
RENEWAL_SECONDS = 60.0
"""Pause before the next look for words of earlier versions, if there were none, or other workers renewed them."""
IDLE_CHECK_SECONDS = 1.0
"""Time between two checks whether the worker is idle."""
STUCK_SECONDS = 180.0
"""Time without a turn after which the probe calls a part stuck. It is longer than a turn while PostgreSQL is silent, a
few timeouts of 30 s, and than POLL_SECONDS."""
STALL_MARGIN_SECONDS = 60.0
"""Added to the time limit of an extraction. A job that makes no progress for the sum loses its lease."""

log = get_logger()


class PartFailed(Exception):
    """A part without which a worker is of no use has ended by a programming error. The log has its stack."""


class Consumer:
    """Claims jobs until the queue is empty, then sleeps until the doorbell rings or the poll interval ends."""

    def __init__(
        self,
        runtime: Runtime,
        heartbeat: Heartbeat,
        *,
        stuck_seconds: float = STUCK_SECONDS,
        yield_seconds: float = YIELD_SECONDS,
        schedule: Schedule | None = None,
    ) -> None:
        self._runtime = runtime
        self._heartbeat = heartbeat
        self._settings = runtime.settings
        self._fault = make_fault(self._settings.fault_hook)
        self._changed = asyncio.Event()
        self._running: dict[asyncio.Task[None], Lease] = {}
        self._claim_starts = ClaimStarts()
        self._is_drained = False
        """True if the last claim left no job waiting. A ring or the next poll finds later ones."""
        self._sought_guest_at = -inf
        self._claimed_at = -inf
        self._yield_seconds = yield_seconds
        self._deliverer = Deliverer(
            runtime.database,
            Sender(self._settings.allowed_webhook_networks),
            heartbeat.hold,
            lease_seconds=self._settings.lease_seconds,
            poll_seconds=self._settings.poll_seconds,
            schedule=schedule,
        )
        self._is_claiming = False
        self._is_stopping = False
        self._stuck_seconds = stuck_seconds
        self._turned_at = monotonic()

    @property
    def has_free_slot(self) -> bool:
        """True if it can claim another job now."""
        return self._may_claim and len(self._running) < self._settings.worker_concurrency

    @property
    def is_idle(self) -> bool:
        """True if it could claim a job now and runs none."""
        return self._may_claim and not self._running

    @property
    def helpers(self) -> Helpers:
        """The other workers, which help this one and are helped by it."""
        return self._runtime.helpers

    @property
    def _may_claim(self) -> bool:
        """True if a job could run beside those that run now. A suspect runs alone."""
        runs_suspect = any(lease.is_suspect for lease in self._running.values())
        can_embed = self._is_claiming and self._runtime.encoders.is_ready
        return can_embed and not (self._is_stopping or runs_suspect)

    def _seeks_guest(self) -> bool:
        """Return True if all slots are taken, and it is time to look for an account that has none of them."""
        is_full = len(self._running) == self._settings.worker_concurrency
        is_time = monotonic() >= self._sought_guest_at + GUEST_SECONDS
        if not (self._may_claim and is_full and is_time):
            return False
        self._sought_guest_at = monotonic()
        return True

    def find_stuck(self) -> list[str]:
        """Return the names of the parts that have not turned for `stuck_seconds`. Safe to call from other threads."""
        turned = {"claim loop": self._turned_at, "heartbeat": self._heartbeat.turned_at}
        return [part for part, at in turned.items() if monotonic() > at + self._stuck_seconds]

    def wake(self) -> None:
        """Make the loops check the queue now."""
        self._changed.set()
        self._deliverer.wake()

    def stop(self) -> None:
        """Claim no more jobs. `run` returns when the running jobs are done or given back."""
        self._is_stopping = True
        self._changed.set()

    async def run(self, *companions: Coroutine[None, None, None]) -> None:
        """Claim and run jobs until `stop` is called, beside endless companions, such as the listener for the doorbell.

        If a part fails, the running jobs are finished or given back, and its error is raised.
        """
        try:
            async with asyncio.TaskGroup() as group:
                endless = (self._sweep_forever(), self._renew_words_forever(), self._deliver_forever(), *companions)
                others = [group.create_task(companion) for companion in endless]
                await self._claim_until_stopped()
                for other in others:
                    other.cancel()
                await self._finish()  # at once: the end of the companions may take seconds
        finally:
            self._is_stopping = True
            await self._finish()

    async def _claim_until_stopped(self) -> None:
        await self._runtime.sandbox.start()
        await self._wait_for_model()
        self._is_claiming = True
        while not self._is_stopping:
            self._turn()
            self._changed.clear()
            try:
                while await self._claim_one():
                    pass
            except DatabaseUnavailable as error:
                log.warning("consumer.database_unavailable", cause=repr(error.__cause__))
                await asyncio.sleep(OUTAGE_SECONDS)
                continue
            await self._sleep()

    def _turn(self) -> None:
        """Show the probe that the loop turns, and that it has what it needs."""
        self._turned_at = monotonic()
        if not self._heartbeat.is_alive:
            raise PartFailed("the heartbeat thread")
        if self._runtime.encoders.has_failed:
            raise PartFailed("the encoder")

    async def _wait_for_model(self) -> None:
        loading = asyncio.create_task(self._runtime.encoders.wait())
        stopping = asyncio.create_task(self._changed.wait())
        while not (loading.done() or self._is_stopping):
            self._turn()
            await asyncio.wait((loading, stopping), timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        loading.cancel()
        stopping.cancel()

    async def _sweep_forever(self) -> None:
        sweeper = Sweeper(self._runtime.database, self._settings.lease_seconds)
        while True:
            await asyncio.sleep(sweeper.interval)
            if not self._runtime.encoders.is_known:
                continue  # the database may not be migrated yet
            # The claim loop logs the outage.
            with suppress(DatabaseUnavailable):
                if swept := await sweeper.sweep():
                    metrics.SWEPT_JOBS.inc(swept)
                    log.warning("queue.swept", jobs=swept)
                    self.wake()

    async def _deliver_forever(self) -> None:
        """Send events, unless another process does. This needs no slot and no model."""
        if not self._settings.worker_webhooks:
            return
        while not self._runtime.encoders.is_known:  # noqa: ASYNC110 - the database may not be migrated yet
            await asyncio.sleep(self._settings.poll_seconds)
        await self._deliverer.run()

    async def _renew_words_forever(self) -> None:
        """Make words of earlier versions anew, while this worker runs no job."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            await self._wait_until_idle()
            pause = RENEWAL_SECONDS
            # The claim loop logs the outage.
            with suppress(DatabaseUnavailable):
                language = self._settings.text_search_config
                if await renew_outdated(self._runtime.database, language, self._wait_until_idle):
                    pause = 0.0

    async def _wait_until_idle(self) -> None:
        while not self.is_idle:  # noqa: ASYNC110 - several parts decide it, and none of them sets an event
            await asyncio.sleep(IDLE_CHECK_SECONDS)

    async def _claim_one(self) -> bool:
        """Claim a job. Return True if another may wait."""
        if not self.has_free_slot:
            return self._seeks_guest() and await self._claim_guest()
        # The last free slot takes only short jobs, so that they do not wait for long ones.
        is_last = 0 < len(self._running) == self._settings.worker_concurrency - 1
        only_short = is_last or self._yields()
        async with self._runtime.database.transaction() as session:
            lease = await queue.claim(
                session,
                self._settings.lease_seconds,
                alone=not self._running,
                only_short=only_short,
                background=self._runtime.encoders.is_next_ready and not only_short,
                starts=self._claim_starts,
            )
        return self._run_claimed(lease)

    def _yields(self) -> bool:
        """Return True if idle workers may claim long jobs first. This worker then looks again a moment later."""
        left = self._claimed_at + self._yield_seconds - monotonic()
        if not self._running or left <= 0:
            return False
        asyncio.get_running_loop().call_later(left, self.wake)
        return True

    async def _claim_guest(self) -> bool:
        """Claim a short job of an account that has no slot, so that it does not wait for long jobs of the others."""
        hosts = {lease.subject.owner_id for lease in self._running.values()}
        async with self._runtime.database.transaction() as session:
            lease = await queue.claim(
                session, self._settings.lease_seconds, alone=False, only_short=True, guest_of=hosts
            )
        return self._run_claimed(lease)

    def _run_claimed(self, lease: Lease | None) -> bool:
        # A job that was not claimed may wait for the end of another, for example for its slot.
        self._is_drained = lease is not None and lease.is_last
        if lease is None:
            return False
        self._claimed_at = monotonic()
        task = asyncio.create_task(self._work(lease))
        self._running[task] = lease
        task.add_done_callback(self._forget)
        return not self._is_drained

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not self._is_drained or self._is_stopping:
            self._changed.set()

    async def _work(self, lease: Lease) -> None:
        structlog.contextvars.bind_contextvars(request_id=lease.request_id)
        with self._heartbeat.hold(lease.token) as held:
            await ingest(self._runtime, lease, StageReporter(self._runtime.database, held, self._fault))

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(self._settings.poll_seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _finish(self) -> None:
        """Wait for the running jobs, then cancel the rest, which gives them back to the queue."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=FINISH_SECONDS)
        unfinished = list(self._running)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


@asynccontextmanager
async def open_consumer(settings: Settings) -> AsyncIterator[Consumer]:
    """Build a consumer with its runtime and heartbeat, and close them at the end."""
    async with open_runtime(settings, database_timeout_seconds=WORKER_DATABASE_TIMEOUT_SECONDS) as runtime:
        heartbeat = Heartbeat(
            settings.sqlalchemy_url,
            lease_seconds=settings.lease_seconds,
            stall_seconds=settings.extract_timeout_seconds + STALL_MARGIN_SECONDS,
            is_pooled=settings.database_transaction_pooling,
        )
        consumer = Consumer(runtime, heartbeat)
        heartbeat.start()
        try:
            yield consumer
        finally:
            heartbeat.stop()
