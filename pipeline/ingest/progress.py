"""The progress of an attempt: its value at each stage, and the hook that reports it."""

from time import monotonic

from pipeline import metrics
from pipeline.db import queue
from pipeline.db.session import Database
from pipeline.ingest.heartbeat import HeldLease
from pipeline.types import Caller, Lease, OnStage, Stage

EXTRACTED = 0.4
"""Progress when all pages are read."""
EMBEDDED = 0.95
"""Progress when all chunks are embedded."""
REPORT_SECONDS = 0.5
"""Minimum interval between two writes of the progress."""

IN_TRANSACTION = frozenset({Stage.STORING, Stage.FINISHING, Stage.STORED})
"""Stages at which progress is not written, because the storing transaction writes the final state."""


def measure_extraction(share: float) -> float:
    """Return the progress when `share` (0.0 to 1.0) of the file is read."""
    return EXTRACTED * share


def measure_embedding(embedded: int, chunks: int, share: float) -> float:
    """Return the progress when `embedded` of the `chunks` of the first `share` of the file are embedded."""
    return (EXTRACTED + (EMBEDDED - EXTRACTED) * embedded / chunks) * share


class StageReporter:
    """The stage hook of workers: checks the lease, writes progress at most twice a second, and runs the fault hook.

    For a suspect it writes each step, before the step is taken.
    """

    def __init__(self, database: Database, held: HeldLease, fault: OnStage | None) -> None:
        self._database = database
        self._held = held
        self._fault = fault
        self._progress = 0.0
        self._reported_at = monotonic()  # the claim has written that the progress is 0
        self._step = 0
        self._stage = Stage.CLAIMED
        self._entered_at = monotonic()
        self._seconds: dict[Stage, float] = {}

    async def __call__(self, lease: Lease, stage: Stage, progress: float) -> None:
        """Record that `stage` is reached.

        Raises LeaseLost if the lease is lost.
        """
        self._held.touch()
        self._time(lease, stage)
        if lease.is_suspect:
            await self._mark_step(lease, stage)
        if self._fault:
            await self._fault(lease, stage, progress)
        if stage in IN_TRANSACTION or monotonic() < self._reported_at + REPORT_SECONDS:
            return
        self._reported_at = monotonic()
        self._progress = max(self._progress, progress)  # reading and embedding overlap
        async with self._database.transaction(Caller(lease.subject.owner_id)) as session:
            await queue.report_progress(session, lease, self._progress)

    async def _mark_step(self, lease: Lease, stage: Stage) -> None:
        self._step += 1
        if stage not in IN_TRANSACTION:
            async with self._database.transaction() as session:
                await queue.mark_step(session, lease, self._step)

    def _time(self, lease: Lease, stage: Stage) -> None:
        """Add up the time of each stage. Stages overlap, so time counts for the stage that was reached last."""
        now = monotonic()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._entered_at
        self._stage, self._entered_at = stage, now
        if stage == Stage.STORED:
            for done, seconds in self._seconds.items():
                metrics.STAGE_SECONDS.labels(lease.kind, done).observe(seconds)
