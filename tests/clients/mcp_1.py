"""The package `mcp` 1.x, which knows only the era of the handshake."""

import asyncio
import json
import os

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

URL, KEY = os.environ["SLUICE_URL"], os.environ["SLUICE_KEY"]
HEADERS = {"Authorization": f"Bearer {KEY}"}


async def use_tools() -> None:
    async with (
        streamablehttp_client(f"{URL}/mcp", headers=HEADERS) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        initialized = await session.initialize()
        assert initialized.serverInfo.name == "sluice"
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert tools.keys() == {"search", "fetch", "ask", "list_documents", "upload_text"}
        assert tools["search"].annotations.readOnlyHint
        assert tools["search"].inputSchema["required"] == ["query"]

        found = await session.call_tool("search", {"query": "When is the lock closed?"})
        assert json.loads(found.content[0].text) == found.structuredContent
        best = found.structuredContent["results"][0]
        assert best["title"] == "lock.txt"
        assert best["url"].startswith(f"{URL}/#document={best['id']}")
        fetched = await session.call_tool("fetch", {"id": best["id"]})
        assert "3.2 metres" in fetched.structuredContent["text"]
        answered = await session.call_tool("ask", {"question": "When is the lock closed?"})
        assert "3.2 metres" in answered.structuredContent["answer"]
        kept = await session.call_tool(
            "upload_text", {"title": "Keys", "text": "The spare key hangs in the boat shed."}
        )
        read_again = await session.call_tool("fetch", {"id": kept.structuredContent["id"]})
        assert read_again.structuredContent["title"] == "Keys"
        listed = await session.call_tool("list_documents", {"status": "ready"})
        assert "lock.txt" in [document["title"] for document in listed.structuredContent["documents"]]

        missing = await session.call_tool("fetch", {"id": "nothing"})
        assert missing.isError
        assert "does not exist" in missing.content[0].text


async def connect_with_wrong_key() -> None:
    async with (
        streamablehttp_client(f"{URL}/mcp", headers={"Authorization": "Bearer sk-wrong"}) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()


asyncio.run(use_tools())
try:
    asyncio.run(connect_with_wrong_key())
    raise AssertionError("a wrong key is accepted")
except* httpx.HTTPStatusError as errors:
    assert "401" in str(errors.exceptions)  # noqa: PT017 - there is no pytest here
