"""`POST /mcp`: the endpoint of the Model Context Protocol, by streamable HTTP, without sessions."""

import asyncio
import importlib
from typing import Any
from urllib.parse import urlsplit

from litestar import asgi
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import MethodNotAllowedException, PermissionDeniedException
from litestar.types import Receive, Scope, Send

from api.auth import Credential
from api.permissions import READS
from pipeline.settings import Settings
from pipeline.types import Caller

Connection = ASGIConnection[Any, Caller, Credential, State]


@asgi("/mcp", copy_scope=True, opt=READS)
async def answer_agent(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an agent. There are no sessions, so there is no stream to open with GET and nothing to delete."""
    connection: Connection = ASGIConnection(scope)
    if connection.scope.get("method") != "POST":
        raise MethodNotAllowedException(headers={"Allow": "POST"})
    if not _is_known_origin(connection, connection.app.state.runtime.settings):
        raise PermissionDeniedException
    server = await asyncio.to_thread(importlib.import_module, "api.controllers.mcp.server")
    await server.answer(scope, receive, send)


def _is_known_origin(connection: Connection, settings: Settings) -> bool:
    """Tell whether the request comes from no page, from ours, or from one in CORS_ORIGINS."""
    origin = connection.headers.get("origin")
    if origin is None or origin in settings.cors_origins:
        return True
    own = settings.public_url or connection.base_url
    return urlsplit(origin)[:2] == urlsplit(str(own))[:2]
