"""Around every request: its id in all log lines, its time in the metrics."""

from time import perf_counter

import structlog
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.http.request_ids import get_request_id
from pipeline import metrics
from pipeline.logs import get_logger

STARTED = "started"

log = get_logger()


class Observation(ASGIMiddleware):
    """Notes when a request began, and gives its id to every log line that it causes."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on."""
        structlog.contextvars.bind_contextvars(request_id=get_request_id(scope))
        scope["state"][STARTED] = perf_counter()
        await next_app(scope, receive, send)


async def observe_response(message: Message, scope: Scope) -> None:
    """Litestar's `before_send` hook: count and log what is answered; no body, no query, no token."""
    if message["type"] != "http.response.start" or scope["type"] != ScopeType.HTTP:
        return
    if STARTED not in scope["state"]:
        return
    seconds = perf_counter() - scope["state"][STARTED]
    route = scope.get("path_template") or "unknown"
    method, status = scope["method"], message["status"]
    metrics.REQUEST_SECONDS.labels(method, route, status).observe(seconds)
    log.info("request", method=method, route=route, status=status, milliseconds=round(1000 * seconds, 1))
