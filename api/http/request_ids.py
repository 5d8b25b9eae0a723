"""An id for every request: the caller's, if it is decent, or one of ours."""

import re
from typing import cast

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from pipeline.types import new_id

HEADER = "X-Request-Id"
DECENT = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def get_request_id(scope: Scope) -> str:
    """Return the id of this request; the same one however often it is asked for."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        headers = dict(scope["headers"])
        given = headers.get(HEADER.lower().encode(), b"")
        state["request_id"] = given.decode() if DECENT.fullmatch(given) else str(new_id())
    return cast("str", state["request_id"])


async def send_request_id(message: Message, scope: Scope) -> None:
    """Litestar's `before_send` hook: every response says its id, errors and unknown routes included."""
    if message["type"] == "http.response.start":
        MutableScopeHeaders.from_message(message)[HEADER] = get_request_id(scope)
