"""The package `mcp` 2.x, which asks for the new era and falls back to the handshake."""

import asyncio
import os

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

URL, KEY = os.environ["SLUICE_URL"], os.environ["SLUICE_KEY"]


async def use_tools(mode: str) -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as http,
        Client(streamable_http_client(f"{URL}/mcp", http_client=http), mode=mode) as client,
    ):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["search"].annotations.read_only_hint
        found = await client.call_tool("search", {"query": "When is the lock closed?"})
        best = found.structured_content["results"][0]
        assert best["title"] == "lock.txt"
        fetched = await client.call_tool("fetch", {"id": best["id"]})
        assert "3.2 metres" in fetched.structured_content["text"]
        answered = await client.call_tool("ask", {"question": "When is the lock closed?"})
        assert [source["title"] for source in answered.structured_content["sources"]] == ["lock.txt"]
        assert (await client.call_tool("fetch", {"id": "nothing"})).is_error


for mode in ("auto", "legacy"):
    asyncio.run(use_tools(mode))
