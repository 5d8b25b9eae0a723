"""The limit on open connections of an API process."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from urllib.parse import urlsplit

import pytest

from api.http import places
from api.http.protocol import EXTRA_CONNECTIONS
from pipeline.settings import Settings
from tests.integration.conftest import Api, Person, serve

pytestmark = pytest.mark.anyio

LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
READY = b"GET /health/ready HTTP/1.1\r\nHost: a\r\n\r\n"
ME = b"GET /v1/users/me HTTP/1.1\r\nHost: a\r\n\r\n"
LOGIN = (
    b"POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
UPLOAD = b"Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
FILE = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n%d\r\n--edge--\r\n'
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

    async def read_all(self) -> bytes:
        """Return what arrives until the API closes the connection."""
        async with asyncio.timeout(10):
            return await self._reader.read()

    async def has_ended(self) -> bool:
        """Return whether the API has closed the connection. Bytes of an answer are read and ignored."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                while await self._reader.read(4096):
                    pass
                return True
        return False

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

    async def begin(self, request: bytes, status: int = 100) -> Connection:
        """Open a connection and send the request, which gets this status while it is under way."""
        connection = await self.connect()
        assert await connection.ask(request) == status
        return connection

    async def occupy(self, person: Person) -> list[Connection]:
        """Open as many connections as the API allows, each with a request that is being answered."""
        return [await self.begin(write(person, "GET /v1/events"), 200) for _ in range(MAX_CONNECTIONS)]

    async def aclose(self) -> None:
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def write(person: Person, line: str, more: bytes = b"") -> bytes:
    """Return the request line and headers of a person's request."""
    return (
        f"{line} HTTP/1.1\r\nHost: a\r\nAuthorization: {person.headers['Authorization']}\r\n".encode() + more + b"\r\n"
    )


def write_upload(person: Person) -> bytes:
    return write(person, "POST /v1/documents", UPLOAD + b"Content-Length: %d\r\n" % len(FILE % 1))


@pytest.fixture
async def clients(api: Api) -> AsyncIterator[Clients]:
    async with serve(api, MAX_CONNECTIONS) as client, aclosing(Clients(str(client.base_url))) as clients:
        yield clients


async def test_connections_over_the_limit_are_refused_except_for_health_checks(
    api: Api, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "ACCOUNT_SHARE", 0)  # only the answers under way keep these places
    busy = await clients.occupy(await api.register())
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
    assert not any([await connection.has_ended() for connection in busy])


async def test_new_connection_takes_the_place_of_the_one_that_has_waited_longest(clients: Clients) -> None:
    silent, first, second = [await clients.connect() for _ in range(MAX_CONNECTIONS)]
    assert [await connection.ask(ME) for connection in (second, first)] == [401, 401]
    for oldest in (silent, second):
        newcomer = await clients.connect()
        assert await newcomer.ask(ME) == 401
        assert await oldest.is_closed()
    assert await first.ask(ME) == 401


async def test_silent_connections_do_not_keep_out_health_checks(api: Api, clients: Clients) -> None:
    await clients.occupy(await api.register())
    silent = [await clients.connect() for _ in range(EXTRA_CONNECTIONS)]
    for connection in silent[1::2]:
        connection.send(UNFINISHED)
    check = await clients.connect()
    assert await check.ask(LIVE) == 200
    assert (await silent[0].read())[0] == 503


@pytest.mark.parametrize("late", [True, False], ids=["a late body", "late headers"])
async def test_new_connection_takes_the_place_of_the_oldest_unfinished_request(clients: Clients, *, late: bool) -> None:
    slow = [await clients.connect() for _ in range(MAX_CONNECTIONS)]
    for connection in slow:
        connection.send(LOGIN if late else UNFINISHED)
        await asyncio.sleep(0.02)
    for oldest in slow[:2]:
        newcomer = await clients.connect()
        assert await newcomer.ask(ME) == 401
        newcomer.send(UNFINISHED)
        status, headers, body = await oldest.read()
        if late:
            assert status == 100
            status, headers, body = await oldest.read()
        assert (status, headers["connection"]) == (503, "close")
        assert json.loads(body)["code"] == "too_many_connections"
        assert await oldest.is_closed()
    if late:
        assert (await slow[2].read())[0] == 100
        assert await slow[2].ask(b"{}") == 422


async def test_normal_client_is_served_while_slow_bodies_keep_coming(clients: Clients) -> None:
    for _ in range(20):
        for _ in range(MAX_CONNECTIONS):
            (await clients.connect()).send(LOGIN + b"{")
        newcomer = await clients.connect()
        assert await newcomer.ask(ME) == 401


async def test_uploads_keep_their_place_and_anonymous_requests_do_not(api: Api, clients: Clients) -> None:
    people = [await api.register(name) for name in ("anna", "bert")]
    uploads = [await clients.begin(write_upload(person)) for person in people]
    slow = await clients.begin(LOGIN)
    assert await (await clients.connect()).ask(write(people[0], "GET /v1/users/me")) == 200
    assert (await slow.read())[0] == 503
    uploads.append(await clients.begin(write_upload(people[0])))
    assert await (await clients.connect()).ask(ME) == 503
    assert [await upload.ask(FILE % number) for number, upload in enumerate(uploads)] == [202] * 3


async def test_answer_that_has_begun_is_not_mixed_with_another(api: Api, clients: Clients) -> None:
    person = await api.register()
    stream = await clients.begin(write(person, "GET /v1/events", b"Transfer-Encoding: chunked\r\n"), 200)
    stream.send(b"no number\r\n")
    assert b"HTTP/1.1 4" not in await stream.read_all()


class TestProxy:
    """Behind a proxy at 127.0.0.1."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"forwarded_allow_ips": "127.0.0.1"})

    async def test_client_with_most_connections_gives_way(self, clients: Clients) -> None:
        head, end = LOGIN[:-2], b"\r\n"
        other = await clients.begin(head + b"X-Forwarded-For: 2001:db8:0:1::1\r\n" + end)
        flood = [await clients.begin(head + b"X-Forwarded-For: 2001:db8:0:2::%d\r\n" % n + end) for n in range(2)]
        assert await (await clients.connect()).ask(ME) == 401
        assert (await flood[0].read())[0] == 503
        assert [await connection.ask(b"{}") for connection in (other, flood[1])] == [422, 422]
