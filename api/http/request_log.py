"""Logs and measures every request. Litestar's own middleware would log bodies and queries by default."""

from time import perf_counter

import structlog
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.http.request_ids import get_request_id
from pipeline import metrics
from pipeline.logs import get_logger

STARTED = "started"
"""Key of the start time in the state of a request."""

log = get_logger()


class Observation(ASGIMiddleware):
    """Records the start of a request, and adds the request id to all log lines of the request."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Record the start time and the request id, and pass the request on."""
        structlog.contextvars.bind_contextvars(request_id=get_request_id(scope))
        scope["state"][STARTED] = perf_counter()
        await next_app(scope, receive, send)


async def observe_response(message: Message, scope: Scope) -> None:
    """Litestar `before_send` hook: measure and log the response, without body, query or token."""
    if message["type"] != "http.response.start" or scope["type"] != ScopeType.HTTP:
        return
    if STARTED not in scope["state"]:
        return
    seconds = perf_counter() - scope["state"][STARTED]
    route = scope.get("path_template") or "unknown"
    method, status = scope["method"], message["status"]
    metrics.REQUEST_SECONDS.labels(method, route, status).observe(seconds)
    log.info("request", method=method, route=route, status=status, milliseconds=round(1000 * seconds, 1))
