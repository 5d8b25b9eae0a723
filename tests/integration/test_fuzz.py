"""Random requests to every route. None may end in a 500. FUZZ_REQUESTS and SEED change the number and the seed."""

import asyncio
import os
from collections import Counter
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from litestar import Litestar

from api.http.protocol import HOST
from tests.formats import describe_formats
from tests.integration.conftest import Api
from tests.random_requests import RandomRequest, RequestGenerator

pytestmark = [pytest.mark.anyio, pytest.mark.fuzz]

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "1000"))
SEED = int(os.environ.get("SEED", "20261127"))
DISCONNECT_SECONDS = 0.05
"""Time after which the client disconnects, because streams and `Prefer: wait` would go on."""


async def send(app: Litestar, request: RandomRequest) -> int:
    """Return the status of the response, as a client sees it that disconnects after a moment."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": request.method,
        "path": unquote_to_bytes(request.path).decode("utf-8", errors="replace"),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": request.headers,
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
        "state": {},
    }
    bodies = [{"type": "http.request", "body": request.body, "more_body": False}]
    status = 0

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        await asyncio.sleep(DISCONNECT_SECONDS)
        return {"type": "http.disconnect"}

    async def respond(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    async with asyncio.timeout(30):
        await app(scope, receive, respond)  # type: ignore[arg-type]  # Litestar types ASGI messages more narrowly
    return status


@pytest.mark.timeout(900)
async def test_no_request_is_answered_with_500(api: Api) -> None:
    anna = await api.register()
    document = (await api.upload(anna, b"A text with a few words.")).json()["id"]
    note = (await api.client.post("/v1/notes", headers=anna.headers, json={"title": "t", "body": "b"})).json()["id"]
    schema = api.app.openapi_schema.to_schema()
    schema["paths"] |= describe_formats(api.app, {})["paths"]
    generator = RequestGenerator(schema, SEED, anna.headers["Authorization"], [document, note])
    statuses: Counter[int] = Counter()
    crashes: list[str] = []
    for index, request in enumerate(generator.generate(REQUESTS)):
        if not all(HOST.fullmatch(value) for name, value in request.headers if name.lower() == b"host"):
            continue  # the parser, which this test leaves out, refuses it
        status = await send(api.app, request)
        statuses[status] += 1
        if status in {0, 500}:
            crashes.append(f"request {index}: {request}")
    print(f"seed {SEED}: {dict(sorted(statuses.items()))}")
    assert not crashes, f"seed {SEED}: {len(crashes)} crashes, such as {crashes[0]}"
    assert len(statuses) > 5, "the requests must reach more than the first check"
