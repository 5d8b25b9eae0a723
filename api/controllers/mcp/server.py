"""The server of the official package, which knows both eras of the protocol. It takes seconds to import."""

from typing import Any, cast

import msgspec
from litestar import Request
from litestar.types import Receive, Scope, Send
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as DescribedTool
from starlette.requests import Request as StarletteRequest

from api.auth import KeyCredential, UserRequest, require_valid, work_while_current
from api.controllers.mcp.tools import TOOLS, Call, Tool, describe, read_arguments
from api.permissions import may_write, require_scope
from api.ratelimit import count_query
from pipeline.errors import NotFound, SluiceError
from pipeline.types import Scope as KeyScope

MAX_BODY_BYTES = 1024 * 1024
"""Longest request of an agent."""

Context = ServerRequestContext[dict[str, Any], Any]


async def list_tools(context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
    """List the tools that the caller may use."""
    request = _get_request(context)
    usable = [_describe_tool(name, tool) for name, tool in TOOLS.items() if not tool.writes or may_write(request.auth)]
    return ListToolsResult(tools=usable)


def _get_request(context: Context) -> UserRequest:
    return Request(cast("StarletteRequest", context.request).scope)  # type: ignore[arg-type]  # the types of Starlette


def _describe_tool(name: str, tool: Tool) -> DescribedTool:
    return DescribedTool(
        name=name,
        description=tool.description,
        input_schema=describe(tool.arguments),
        output_schema=describe(tool.result),
        annotations=ToolAnnotations(read_only_hint=not tool.writes, destructive_hint=False, open_world_hint=False),
    )


async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
    """Call a tool. An error of ours is a result, so that the agent can read it."""
    request = _get_request(context)
    try:
        await require_valid(request)
        await count_query(request)
        result = await work_while_current(request, _call(request, params))
    except SluiceError as error:
        return CallToolResult(content=[TextContent(text=error.message)], is_error=True)
    written = msgspec.json.encode(result).decode()
    return CallToolResult(content=[TextContent(text=written)], structured_content=msgspec.to_builtins(result))


async def _call(request: UserRequest, params: CallToolRequestParams) -> msgspec.Struct:
    tool = TOOLS.get(params.name)
    if tool is None:
        raise NotFound(f"There is no such tool. Call one of: {', '.join(TOOLS)}.")
    if tool.writes and isinstance(request.auth, KeyCredential):
        require_scope(request.auth, KeyScope.WRITE)
    return await tool.run(Call(request, request.app.state.runtime), read_arguments(tool, params.arguments))


SERVER: Server[dict[str, Any]] = Server("sluice", on_list_tools=list_tools, on_call_tool=call_tool)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. Nothing is kept for the next one, which another process may get."""
    manager = StreamableHTTPSessionManager(
        SERVER, json_response=True, stateless=True, max_request_body_size=MAX_BODY_BYTES
    )
    async with manager.run():
        await manager.handle_request(scope, receive, send)  # type: ignore[arg-type]  # the types of Starlette
