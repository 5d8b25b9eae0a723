"""The limit on open connections of an API process."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from urllib.parse import urlsplit

import pytest

from api.http.protocol import EXTRA_CONNECTIONS
from tests.integration.conftest import Api, serve

pytestmark = pytest.mark.anyio

LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
READY = b"GET /health/ready HTTP/1.1\r\nHost: a\r\n\r\n"
ME = b"GET /v1/users/me HTTP/1.1\r\nHost: a\r\n\r\n"
LOGIN = (
    b"POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
UNFINISHED = b"GET /health/live HTTP/1.1\r\nHost: a\r\n"
MAX_CONNECTIONS = 3


class Connection:
    """A connection that sends requests one by one. It is closed when the test ends."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def read(self) -> tuple[int, dict[str, str], bytes]:
        """Return the status, headers and body of the next answer."""
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            return (
                int(head[0].split()[1]),
                headers,
                await self._reader.readexactly(int(headers.get("content-length", 0))),
            )

    async def ask(self, request: bytes) -> int:
        self.send(request)
        return (await self.read())[0]

    async def is_closed(self) -> bool:
        """Return whether the API closes the connection without a further answer."""
        async with asyncio.timeout(5):
            return not await self._reader.read(1)


class Clients:
    """Opens connections to an API that allows `MAX_CONNECTIONS`."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._writers: list[StreamWriter] = []

    async def connect(self) -> Connection:
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        self._writers.append(writer)
        return Connection(reader, writer)

    async def occupy(self) -> list[Connection]:
        """Open as many connections as the API allows, each in the middle of a request."""
        connections = [await self.connect() for _ in range(MAX_CONNECTIONS)]
        for connection in connections:
            assert await connection.ask(LOGIN) == 100
        return connections

    async def aclose(self) -> None:
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def clients(api: Api) -> AsyncIterator[Clients]:
    async with serve(api, MAX_CONNECTIONS) as client, aclosing(Clients(str(client.base_url))) as clients:
        yield clients


async def test_connections_over_the_limit_are_refused_except_for_health_checks(clients: Clients) -> None:
    busy = await clients.occupy()
    for request in (LIVE, READY):
        check = await clients.connect()
        check.send(request)
        status, headers, _ = await check.read()
        assert (status, headers["connection"]) == (200, "close")
        assert await check.is_closed()
    refused = await clients.connect()
    refused.send(ME)
    status, headers, body = await refused.read()
    assert (status, headers["retry-after"], headers["connection"]) == (503, "2", "close")
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert (problem["code"], problem["status"], problem["request_id"]) == (
        *("too_many_connections", 503),
        headers["x-request-id"],
    )
    assert await refused.is_closed()
    assert [await connection.ask(b"{}") for connection in busy] == [422] * MAX_CONNECTIONS


async def test_new_connection_takes_the_place_of_the_one_that_has_waited_longest(clients: Clients) -> None:
    silent, first, second = [await clients.connect() for _ in range(MAX_CONNECTIONS)]
    assert [await connection.ask(ME) for connection in (second, first)] == [401, 401]
    for oldest in (silent, second):
        newcomer = await clients.connect()
        assert await newcomer.ask(ME) == 401
        assert await oldest.is_closed()
    assert await first.ask(ME) == 401


async def test_silent_connections_do_not_keep_out_health_checks(clients: Clients) -> None:
    await clients.occupy()
    silent = [await clients.connect() for _ in range(EXTRA_CONNECTIONS)]
    for connection in silent[::2]:
        connection.send(UNFINISHED)
    check = await clients.connect()
    assert await check.ask(LIVE) == 200
    assert (await silent[0].read())[0] == 503
