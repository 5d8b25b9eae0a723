"""One attempt: a worker's try at one job. Every step of an ingestion receives it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.runtime import Runtime
from pipeline.types import Caller, JobKind, Lease, OnStage, Stage, Subject

EMBED_AT_ONCE = 32
"""Maximum number of chunks that are embedded between two reports of progress."""
SHARED_EMBED_AT_ONCE = 128
"""The same if there are other workers, which may embed some of the chunks."""
SUSPECT_EMBED_AT_ONCE = 4
"""The same for a suspect. Its steps are small, so that a crash at the same step twice is unlikely by chance. They are
too small to be shared, because a text that crashes an encoder must not crash those of helpers."""


@dataclass(frozen=True)
class Attempt:
    """The parts to use, the lease, and the hook that is called at each stage."""

    runtime: Runtime
    lease: Lease
    on_stage: OnStage
    """In workers, a `StageReporter`."""

    @property
    def subject(self) -> Subject:
        """The document or note."""
        return self.lease.subject

    @property
    def kind(self) -> JobKind:
        """The kind of the job."""
        return self.lease.kind

    @property
    def embed_at_once(self) -> int:
        """Maximum number of chunks that are embedded between two reports of progress."""
        if self.lease.is_suspect:
            return SUSPECT_EMBED_AT_ONCE
        return SHARED_EMBED_AT_ONCE if self.runtime.helpers.peers else EMBED_AT_ONCE

    @property
    def log_fields(self) -> dict[str, str]:
        """Fields that name the attempt in log lines."""
        return {"kind": self.kind, "subject_id": str(self.subject.id)}

    async def reach(self, stage: Stage, progress: float) -> None:
        """Report that the attempt has reached `stage`, and its progress from 0.0 to 1.0.

        Raises LeaseLost if this worker no longer holds the job.
        """
        await self.on_stage(self.lease, stage, progress)

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a transaction that acts for the owner of the subject."""
        return self.runtime.database.transaction(Caller(self.subject.owner_id))
