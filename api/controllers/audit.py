"""`GET /v1/audit-logs`: the caller's audit log."""

from litestar import Controller, get

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.http.operations import problems
from api.http.pagination import DEFAULT_LIMIT, PageCursor, PageLimit
from api.permissions import READS_ALL
from pipeline.types import AuditList
from pipeline.use_cases import audit_log


class AuditController(Controller):
    """The caller's audit log."""

    path = "/v1/audit-logs"
    tags = ("Audit",)

    @get("/", summary="List your audit log, newest first", responses=problems(401, 403, 422), opt=READS_ALL)
    async def list_page(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> AuditList:
        """List the caller's audit log, page by page. An API key that is bound to collections gets 403."""
        return await audit_log.list_page(runtime, request.user, limit=limit, cursor=cursor)
