"""Back-pressure: limits on the unfinished documents and notes of one user."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import queue
from pipeline.errors import TooManyRequests
from pipeline.settings import Settings

RETRY_AFTER_SECONDS = 30


async def require_room(
    session: AsyncSession, settings: Settings, owner_id: UUID, size_bytes: int, replaced: UUID | None = None
) -> None:
    """Check that the owner may add one more document or note of this size.

    For a new version, `replaced` is its document, which is not counted. Concurrent requests do not see each other, so
    together they may exceed a limit.
    Raises TooManyRequests if the owner has too many unfinished documents and notes, or too many bytes in them.
    """
    waiting = await queue.measure_waiting(session, owner_id, excluded=replaced)
    if waiting.count >= settings.max_pending_per_user:
        raise _full(
            f"You have {waiting.count} unfinished documents and notes. The limit is {settings.max_pending_per_user}."
        )
    if waiting.bytes + size_bytes > settings.max_bytes_per_user:
        raise _full(
            f"Your unfinished documents have {waiting.bytes} bytes. "
            f"With this one, they would exceed the limit of {settings.max_bytes_per_user} bytes."
        )


def _full(what_happened: str) -> TooManyRequests:
    return TooManyRequests(
        f"{what_happened} Nothing was stored. Send it again when some of them are ready.",
        code="queue_full",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
