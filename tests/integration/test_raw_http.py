"""Raw bytes on a socket, as an attacker sends them: they are not ordinary HTTP."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from api.http import body_deadlines, protocol
from tests.integration.conftest import Api, serve

pytestmark = pytest.mark.anyio


def encode(headers: bytes, version: bytes = b"1.1") -> bytes:
    """Return a request with an empty chunked body."""
    return b"GET /health/live HTTP/" + version + b"\r\nHost: a\r\n" + headers + b"\r\n0\r\n\r\n"


LONG = b"X-Long: " + b"a" * 70_000 + b"\r\n"
MANY = b"X-One: 1\r\n" * 12_000
CHUNKED = (
    b"POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
TRAILER = CHUNKED + b"2\r\n{}\r\n0\r\nX: "
ENDLESS = {
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x1: " + b"a" * 1000 + b"\r\n"),
    "a trailer": (TRAILER, b"a" * 1000),
    "the name of a trailer": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a" * 1000),
    "a chunk extension": (CHUNKED + b"2;", b"a" * 1000),
    "chunks with long extensions": (CHUNKED, b"1;" + b"a" * 1000 + b"\r\n \r\n"),
    "a chunk size": (CHUNKED, b"0" * 1000),
    "a header": (b"GET / HTTP/1.1\r\nX: ", b"a" * 1000),
    "a target": (b"GET /", b"a" * 1000),
    "empty lines": (b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n" * 500),
}
MOST_BYTES = 100_000
"""More than 64 KiB, and one more piece."""
REQUESTS = {
    "one long header": (b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + LONG + b"\r\n", b"431"),
    "many headers": (b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + MANY + b"\r\n", b"431"),
    "one long target": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431"),
    "a target without a path": (b"GET http://evil HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
    "a target with only a query": (b"GET http://evil?a=b HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
    "a target with a wrong port": (b"GET http://evil:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
    "a target that is not ASCII": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
    "a whole URL as target": (b"GET http://evil/health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
    "a tunnel": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
    "no host": (b"GET /health/live HTTP/1.1\r\n\r\n", b"400"),
    "two hosts": (b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
    "a host with a wrong port": (b"GET /health/live HTTP/1.1\r\nHost: 2026-11-27T00:00Z\r\n\r\n", b"400"),
    "an address as host": (b"GET /health/live HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", b"200"),
    "one host": (b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
    "HTTP/1.0 without a host": (b"GET /health/live HTTP/1.0\r\n\r\n", b"200"),
    "no version": (b"GET /health/live\r\nHost: a\r\n\r\n", b"505"),
    "HTTP/0.9": (b"GET /health/live HTTP/0.9\r\nHost: a\r\n\r\n", b"505"),
    "HTTP/2.0": (b"GET /health/live HTTP/2.0\r\nHost: a\r\n\r\n", b"505"),
    "HTTP/3.1": (b"GET /health/live HTTP/3.1\r\nHost: a\r\n\r\n", b"400"),
    "chunked": (encode(b"Transfer-Encoding: Chunked\r\n"), b"200"),
    "identity, chunked": (encode(b"Transfer-Encoding: identity, chunked\r\n"), b"400"),
    "chunked twice": (encode(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), b"400"),
    "identity": (encode(b"Transfer-Encoding: identity\r\n"), b"400"),
    "chunked with a length": (encode(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), b"400"),
    "chunked in HTTP/1.0": (encode(b"Transfer-Encoding: chunked\r\n", b"1.0"), b"400"),
}


async def send(url: str, data: bytes) -> bytes:
    """Return what the server answers until it pauses or closes the connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n") + await reader.read(4096)
    finally:
        writer.close()


@pytest.mark.parametrize("name", REQUESTS)
async def test_headers(api: Api, name: str) -> None:
    data, status = REQUESTS[name]
    async with serve(api) as client:
        answer = await send(str(client.base_url), data)
    assert answer.startswith(b"HTTP/1.1 " + status), answer
    assert (b"application/problem+json" in answer) == (status != b"200")


async def test_trailers_are_no_headers(api: Api) -> None:
    person = await api.register()
    trailer = f"Authorization: {person.headers['Authorization']}\r\nX-Request-Id: from-the-trailer\r\n".encode()
    head = b"GET /v1/users/me HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serve(api) as client:
        answer = await send(str(client.base_url), head + b"0\r\n" + trailer + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"from-the-trailer" not in answer


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Return what arrives until the server closes or resets the connection."""
    answer = b""
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            answer += data
    return answer


async def read_while_sending(url: str, head: bytes, piece: bytes, *, pieces: int, seconds: float = 0.0) -> bytes:
    """Send the head, then the piece again and again with a pause. Return what the server sends until it closes."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head)
    reading = asyncio.ensure_future(read_all(reader))
    try:
        async with asyncio.timeout(5):
            for _ in range(pieces):
                writer.write(piece)
                await asyncio.wait([reading], timeout=seconds)
                if reading.done():
                    break
            return await reading
    finally:
        reading.cancel()
        writer.close()


@pytest.mark.parametrize("name", ENDLESS)
async def test_what_is_no_body_is_limited(api: Api, name: str) -> None:
    head, piece = ENDLESS[name]
    async with serve(api) as client:
        answer = await read_while_sending(str(client.base_url), head, piece, pieces=MOST_BYTES // len(piece))
    assert b"HTTP/1.1 431 " in answer


async def test_small_chunks_and_new_requests_are_not_counted_together(api: Api) -> None:
    small = CHUNKED + b"1\r\n \r\n" * 30_000 + b"2\r\n{}\r\n0\r\nX: " + b"a" * 40_000 + b"\r\n\r\n"
    large = b"GET /health/live HTTP/1.1\r\nConnection: close\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n"
    async with serve(api) as client:
        answer = await read_while_sending(str(client.base_url), small, small + large, pieces=1)
    assert [answer.count(b"HTTP/1.1 " + status) for status in (b"422", b"200")] == [2, 1]


@pytest.mark.parametrize("is_chunked", [True, False], ids=["one chunk", "a length"])
async def test_large_body_is_not_counted(api: Api, *, is_chunked: bool) -> None:
    body = b" " * 300_000
    request = CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: 300000") + body
    if is_chunked:
        request = CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    async with serve(api) as client:
        answer = await send(str(client.base_url), request)
    assert answer.startswith(b"HTTP/1.1 4")
    assert b"HTTP/1.1 431 " not in answer


@pytest.mark.parametrize("head", [TRAILER, CHUNKED + b"2;"], ids=["trailer", "chunk size"])
async def test_trickle_ends_as_a_slow_body_does(api: Api, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr(body_deadlines, "JSON", body_deadlines.Deadlines(idle_seconds=0.2, total_seconds=1))
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    async with serve(api) as client:
        answer = await read_while_sending(str(client.base_url), head, b"a", pieces=200, seconds=0.02)
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_trickle_of_empty_lines_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.2)
    async with serve(api) as client:
        head, piece = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n"
        answer = await read_while_sending(str(client.base_url), head, piece, pieces=200, seconds=0.02)
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_wrong_chunk_is_answered(api: Api) -> None:
    async with serve(api) as client:
        answer = await send(str(client.base_url), CHUNKED + b"2\r\n{}\r\nno number\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
