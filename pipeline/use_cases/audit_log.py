"""The user's own rows of the audit log."""

from pipeline.db import access
from pipeline.runtime import Runtime
from pipeline.types import AuditList, Caller


async def list_page(runtime: Runtime, caller: Caller, *, limit: int, cursor: str | None) -> AuditList:
    """Return a page of the user's own rows, newest first.

    Raises InvalidInput if the cursor is malformed.
    """
    async with runtime.database.transaction(caller) as session:
        return await access.list_audit(session, caller.owner_id, limit=limit, cursor=cursor)
