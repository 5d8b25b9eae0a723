"""The audit log as a user sees it: the user's own rows."""

from uuid import UUID

from pipeline.db import access
from pipeline.runtime import Runtime
from pipeline.types import AuditList


async def list_page(runtime: Runtime, user_id: UUID, *, limit: int, cursor: str | None) -> AuditList:
    """Return a page of the user's own rows, newest first.

    Raises InvalidInput if the cursor is not from this listing.
    """
    async with runtime.database.transaction(user_id) as session:
        return await access.list_audit(session, user_id, limit=limit, cursor=cursor)
