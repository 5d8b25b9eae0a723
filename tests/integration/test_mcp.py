"""The Model Context Protocol, with the client of the official package and by hand."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.integration.conftest import Api, Person, serve

pytestmark = pytest.mark.anyio

TEXT = b"The lock is closed when the gauge reads more than 3.2 metres. The hinges are greased with mutton tallow."
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
TOOLS = {"search", "fetch", "ask", "list_documents", "upload_text"}


@pytest.fixture
async def person(api: Api) -> Person:
    person = await api.register()
    assert (await api.upload(person, TEXT, "lock.txt")).status_code == 202
    await api.work()
    return person


@pytest.fixture
async def http(api: Api, person: Person) -> AsyncIterator[httpx2.AsyncClient]:
    async with serve(api) as served, httpx2.AsyncClient(base_url=served.base_url, headers=person.headers) as http:
        yield http


async def call(api: Api, person: Person, method: str, **params: Any) -> Any:
    """Send one request of the handshake era."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = await api.client.post("/mcp", json=body, headers={**person.headers, **HEADERS})
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def call_tool(api: Api, person: Person, name: str, **arguments: Any) -> Any:
    result = await call(api, person, "tools/call", name=name, arguments=arguments)
    assert not result.get("isError"), result
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    return result["structuredContent"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_client_of_the_package_in_both_eras(http: httpx2.AsyncClient, mode: Any) -> None:
    async with Client(streamable_http_client(f"{http.base_url}/mcp", http_client=http), mode=mode) as client:
        listed = await client.list_tools()
        assert {tool.name for tool in listed.tools} == TOOLS
        found = await client.call_tool("search", {"query": "When is the lock closed?"})
        [result] = found.structured_content["results"]
        assert result["title"] == "lock.txt"
        fetched = await client.call_tool("fetch", {"id": result["id"]})
        assert fetched.structured_content["text"] == TEXT.decode()
        missing = await client.call_tool("fetch", {"id": "nothing"})
        assert missing.is_error


async def test_tools_do_what_routes_do(api: Api, person: Person) -> None:
    [found] = (await call_tool(api, person, "search", query="mutton tallow"))["results"]
    assert found["url"].startswith(f"http://test/#document={found['id']}&page=1&start=0&end=")
    fetched = await call_tool(api, person, "fetch", id=found["id"])
    assert fetched["metadata"] == {"returned": len(TEXT), "length": len(TEXT)}
    answered = await call_tool(api, person, "ask", question="When is the lock closed?")
    assert "3.2 metres" in answered["answer"]
    assert [source["number"] for source in answered["sources"]] == [1]
    kept = await call_tool(api, person, "upload_text", title="Keys", text="The spare key hangs in the boat shed.")
    await api.work()
    assert (await call_tool(api, person, "fetch", id=kept["id"]))["text"] == "The spare key hangs in the boat shed."
    assert (await call_tool(api, person, "search", query="boat shed"))["results"][0]["id"] == kept["id"]
    [listed] = (await call_tool(api, person, "list_documents", status="ready"))["documents"]
    assert (listed["title"], listed["pages"]) == ("lock.txt", 1)


async def test_strangers_find_nothing(api: Api, person: Person) -> None:
    [found] = (await call_tool(api, person, "search", query="lock"))["results"]
    stranger = await api.register("berta")
    assert (await call_tool(api, stranger, "search", query="lock"))["results"] == []
    refused = await call(api, stranger, "tools/call", name="fetch", arguments={"id": found["id"]})
    assert refused["isError"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("search", {}),
        ("search", {"query": 1}),
        ("search", {"query": "a", "top": 1}),
        ("ask", {"question": "?"}),
        ("sing", {}),
    ],
)
async def test_wrong_calls_are_results_that_agents_can_read(api: Api, name: str, arguments: dict[str, Any]) -> None:
    person = await api.register()
    result = await call(api, person, "tools/call", name=name, arguments=arguments)
    assert result["isError"]
    assert result["content"][0]["text"]


async def test_nothing_is_kept_if_the_key_is_revoked_while_the_call_is_sent(api: Api) -> None:
    person = await api.register()
    key = (await api.client.post("/v1/api-keys", headers=person.headers, json={"name": "agent"})).json()
    arguments = {"title": "Keys", "text": "Kept."}
    params = {"name": "upload_text", "arguments": arguments}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()

    async def send() -> AsyncIterator[bytes]:
        yield body[:9]
        await api.client.delete(f"/v1/api-keys/{key['id']}", headers=person.headers)
        yield body[9:]

    headers = {**HEADERS, "Authorization": f"Bearer {key['secret']}", "Content-Type": "application/json"}
    assert (await api.client.post("/mcp", content=send(), headers=headers)).json()["result"]["isError"]
    assert (await api.get(person, "/v1/notes")).json()["items"] == []


async def test_tools_describe_themselves(api: Api) -> None:
    listed = await call(api, await api.register(), "tools/list")
    tools = {tool["name"]: tool for tool in listed["tools"]}
    assert tools["search"]["inputSchema"]["required"] == ["query"]
    assert tools["fetch"]["inputSchema"]["required"] == ["id"]
    for name, tool in tools.items():
        assert tool["annotations"]["readOnlyHint"] == (name != "upload_text")
        assert tool["outputSchema"]["type"] == "object"


async def test_key_that_may_only_read_stores_nothing(api: Api) -> None:
    person = await api.register()
    created = await api.client.post("/v1/api-keys", json={"name": "agent", "scopes": ["read"]}, headers=person.headers)
    agent = Person("", "", {"Authorization": f"Bearer {created.json()['secret']}"})
    listed = await call(api, agent, "tools/list")
    assert {tool["name"] for tool in listed["tools"]} == TOOLS - {"upload_text"}
    arguments = {"title": "Keys", "text": "The spare key."}
    assert (await call(api, agent, "tools/call", name="upload_text", arguments=arguments))["isError"]
    assert (await api.get(person, "/v1/notes")).json()["items"] == []


async def test_requests_that_are_refused(api: Api) -> None:
    person = await api.register()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    anonymous = await api.client.post("/mcp", json=body, headers=HEADERS)
    assert (anonymous.status_code, anonymous.headers["www-authenticate"]) == (401, "Bearer")
    headers = {**person.headers, **HEADERS}
    for origin, status in (("https://evil.example", 403), ("null", 403), ("http://test", 200)):
        answer = await api.client.post("/mcp", json=body, headers={**headers, "Origin": origin})
        assert answer.status_code == status, origin
    for method in ("GET", "DELETE"):
        answer = await api.client.request(method, "/mcp", headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    broken = await api.client.post("/mcp", content=b"{", headers={**headers, "Content-Type": "application/json"})
    assert broken.status_code == 400
