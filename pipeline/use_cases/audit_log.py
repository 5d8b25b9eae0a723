"""The user's own rows of the audit log."""

from uuid import UUID

from pipeline.db import access
from pipeline.runtime import Runtime
from pipeline.types import AuditList


async def list_page(runtime: Runtime, user_id: UUID, *, limit: int, cursor: str | None) -> AuditList:
    """Return a page of the user's own rows, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(user_id) as session:
        return await access.list_audit(session, user_id, limit=limit, cursor=cursor)
