"""The body of a request arrives in time and whole, or the request is refused; a client that left is not worked for."""

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

METHODS_WITH_BODY = ("POST", "PUT", "PATCH")
PATIENCE = "patience"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a body may be silent, and how long it may take in all, in seconds."""

    silence: float
    whole: float


JSON = Patience(silence=10.0, whole=60.0)
UPLOAD = Patience(silence=30.0, whole=600.0)


class BodyDeadlines(ASGIMiddleware):
    """Ends the wait for a body by the route's `patience`; nothing else does."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on, with a body that ends."""
        if scope["type"] == ScopeType.HTTP and scope["method"] in METHODS_WITH_BODY:
            patience = scope["route_handler"].opt.get(PATIENCE, JSON)
            receive = cast("Receive", _Body(receive, patience).receive)
        await next_app(scope, receive, send)


class _Body:
    def __init__(self, receive: Receive, patience: Patience) -> None:
        self._receive = receive
        self._patience = patience
        self._ends_at = monotonic() + patience.whole
        self._is_whole = False

    async def receive(self) -> HTTPReceiveMessage:
        """Return the next piece.

        Raises TooSlow where it does not come in time, InvalidInput where the client hung up before the last one.
        """
        if self._is_whole:
            return await self._receive_message()
        silence = self._patience.silence
        try:
            async with asyncio.timeout(min(silence, max(self._ends_at - monotonic(), 0))):
                message = await self._receive_message()
        except TimeoutError:
            if monotonic() >= self._ends_at:
                raise TooSlow("The upload took too long. Try again on a better connection.") from None
            raise TooSlow(f"Nothing arrived for {silence:g} seconds. Try again.") from None
        if message["type"] == "http.disconnect":
            # Nobody reads the answer, and nothing of ours is wrong.
            raise InvalidInput("The request was broken off.", code="aborted")
        self._is_whole = not message["more_body"]
        return message

    async def _receive_message(self) -> HTTPReceiveMessage:
        return cast("HTTPReceiveMessage", await self._receive())


async def work_while_connected(request: Request[Any, Any, Any], work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` returns; it is cancelled when the client hangs up.

    Raises InvalidInput where it did.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_wait_for_disconnect(request.receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise InvalidInput("The client hung up.", code="aborted")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
