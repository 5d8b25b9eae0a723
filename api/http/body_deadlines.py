"""Time limits for request bodies, and cancellation of work for clients that disconnect.

Litestar waits for a body without limit, and keeps working after the client has disconnected.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar, cast

from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send

from pipeline.errors import InvalidInput, TooSlow

METHODS_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
OPTION = "body_deadlines"
"""Route option: the `Deadlines` of the route's request body. The default is `JSON`."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Time limits for a request body: between two pieces, and in total."""

    idle_seconds: float
    total_seconds: float


JSON = Deadlines(idle_seconds=10.0, total_seconds=60.0)
UPLOAD = Deadlines(idle_seconds=30.0, total_seconds=600.0)


class BodyDeadlines(ASGIMiddleware):
    """Applies the route's `Deadlines` to its request body."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on, with time limits on its body."""
        if scope["type"] == ScopeType.HTTP and scope["method"] in METHODS_WITH_BODY:
            deadlines = scope["route_handler"].opt.get(OPTION, JSON)
            receive = cast("Receive", _TimedBody(receive, deadlines).receive)
        await next_app(scope, receive, send)


class _TimedBody:
    def __init__(self, receive: Receive, deadlines: Deadlines) -> None:
        self._receive = receive
        self._deadlines = deadlines
        self._ends_at = monotonic() + deadlines.total_seconds
        self._is_complete = False

    async def receive(self) -> HTTPReceiveMessage:
        """Return the next piece of the body.

        Raises TooSlow if it does not arrive in time, InvalidInput if the client disconnects before the last piece.
        """
        if self._is_complete:
            return await self._receive_message()
        idle_seconds, total_seconds = self._deadlines.idle_seconds, self._deadlines.total_seconds
        try:
            async with asyncio.timeout(min(idle_seconds, max(self._ends_at - monotonic(), 0))):
                message = await self._receive_message()
        except TimeoutError:
            if monotonic() >= self._ends_at:
                detail = f"The body did not arrive within {total_seconds:g} seconds. Try again on a faster connection."
                raise TooSlow(detail) from None
            raise TooSlow(f"No data arrived for {idle_seconds:g} seconds. Try again.") from None
        if message["type"] == "http.disconnect":
            # InvalidInput, because this is not a server error. No client is left to read it.
            raise InvalidInput("The client disconnected before the request body was complete.", code="aborted")
        self._is_complete = not message["more_body"]
        return message

    async def _receive_message(self) -> HTTPReceiveMessage:
        return cast("HTTPReceiveMessage", await self._receive())


async def work_while_connected(request: Request[Any, Any, Any], work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`. If the client disconnects, cancel it.

    Raises InvalidInput if the client disconnects first.
    """
    working = asyncio.ensure_future(work)
    disconnecting = asyncio.ensure_future(_wait_for_disconnect(request.receive))
    try:
        await asyncio.wait((working, disconnecting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise InvalidInput("The client disconnected.", code="aborted")
        return working.result()
    finally:
        working.cancel()
        disconnecting.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
