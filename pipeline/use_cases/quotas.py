"""Back-pressure: how much work of one user may wait."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import queue
from pipeline.errors import TooManyRequests
from pipeline.settings import Settings

RETRY_AFTER_SECONDS = 30


async def require_room(
    session: AsyncSession, settings: Settings, owner_id: UUID, size_bytes: int, replaced: UUID | None = None
) -> None:
    """Let one more document or note of this size pass where it fits; those sent at the same time may pass together.

    `replaced` is the document of which it is a new version: that one does not count.
    Raises TooManyRequests where too many of the owner wait or are in work, or too many bytes.
    """
    waiting = await queue.measure_waiting(session, owner_id, besides=replaced)
    if waiting.count >= settings.max_pending_per_user:
        raise _full(f"{waiting.count} of your documents and notes wait or are in work, and no more may.")
    if waiting.bytes + size_bytes > settings.max_bytes_per_user:
        raise _full(
            f"Your documents that wait or are in work have {waiting.bytes} bytes, "
            f"and with this one it would be more than the {settings.max_bytes_per_user} that may."
        )


def _full(what_happened: str) -> TooManyRequests:
    return TooManyRequests(
        f"{what_happened} Nothing was stored. Send it again when some of them are ready.",
        code="queue_full",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
