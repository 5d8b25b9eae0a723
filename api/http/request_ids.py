"""Gives every request an id for logs and errors: a well-formed `X-Request-Id` of the caller, or a new one."""

import re
from typing import cast

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from pipeline.types import new_id

HEADER = "X-Request-Id"
WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def get_request_id(scope: Scope) -> str:
    """Return the id of this request. Repeated calls return the same id."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        headers = dict(scope["headers"])
        given = headers.get(HEADER.lower().encode(), b"")
        state["request_id"] = given.decode() if WELL_FORMED.fullmatch(given) else str(new_id())
    return cast("str", state["request_id"])


async def send_request_id(message: Message, scope: Scope) -> None:
    """Litestar `before_send` hook: add the id to every response, including errors."""
    if message["type"] == "http.response.start":
        MutableScopeHeaders.from_message(message)[HEADER] = get_request_id(scope)
