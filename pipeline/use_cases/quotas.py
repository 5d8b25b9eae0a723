"""Limits on what one user stores, and on what is unfinished (back-pressure)."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import queue, storage
from pipeline.db.session import see_account
from pipeline.db.storage import Stored
from pipeline.errors import QuotaExceeded, TooManyRequests
from pipeline.settings import Settings
from pipeline.types import Caller, Quota, Usage

RETRY_AFTER_SECONDS = 30
MAX_ENVELOPE_BYTES = 80 * 1024
"""Bytes of a multipart body around its file, at most. Fields have up to 64 KiB, names and headers a few hundred."""


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


async def require_storage(session: AsyncSession, settings: Settings, caller: Caller, growth: Stored) -> None:
    """Check the quotas after `growth` has been stored. Concurrent requests never exceed a quota together.

    Call it last in a transaction, because it locks what the owner stores until the end.
    Raises QuotaExceeded if the owner stores more than a quota, and `growth` is part of the reason.
    """
    if not _is_limited(settings, growth):
        return
    await storage.lock(session, caller.owner_id)
    async with see_account(session, caller):
        refusal = _find_refusal(settings, await storage.measure(session, caller.owner_id), growth)
    if refusal:
        raise refusal


async def require_storage_for_body(
    session: AsyncSession, settings: Settings, caller: Caller, body_bytes: int, change: Stored
) -> None:
    """Check the quotas before a multipart body of this size is received. `change` is the change without the file.

    A file that the owner may have already, or that may replace a document with an external id, is not refused yet.
    Raises QuotaExceeded if the file cannot be accepted.
    """
    smallest = body_bytes - MAX_ENVELOPE_BYTES
    growth = change + Stored(0, smallest)
    if smallest <= 0 or not _is_limited(settings, growth):
        return
    async with see_account(session, caller):
        stored = await storage.measure(session, caller.owner_id)
        refusal = _find_refusal(settings, stored + growth, growth)
        if refusal and not await storage.may_have(session, caller.owner_id, smallest, body_bytes):
            raise refusal


def describe(settings: Settings, stored: Stored) -> Usage:
    """Return what an account stores, with its quotas."""
    return Usage(
        stored_bytes=Quota(stored.bytes, settings.max_stored_bytes_per_user or None),
        documents=Quota(stored.count, settings.max_documents_per_user or None),
    )


def _is_limited(settings: Settings, growth: Stored) -> bool:
    """Return whether there is a quota of something that grows."""
    counts = growth.count > 0 and settings.max_documents_per_user > 0
    return counts or (growth.bytes > 0 and settings.max_stored_bytes_per_user > 0)


def _find_refusal(settings: Settings, stored: Stored, growth: Stored) -> QuotaExceeded | None:
    """Return the refusal of `growth`, which `stored` includes, or None if it is within the quotas.

    What adds a document or note also adds bytes.
    """
    if growth.count > 0 and 0 < settings.max_documents_per_user < stored.count:
        return QuotaExceeded(
            f"You have {stored.count - growth.count} documents and notes. Your quota is "
            f"{settings.max_documents_per_user}."
        )
    if 0 < settings.max_stored_bytes_per_user < stored.bytes:
        return QuotaExceeded(
            f"You store {stored.bytes - growth.bytes} bytes. With this, your quota of "
            f"{settings.max_stored_bytes_per_user} bytes would be exceeded."
        )
    return None
