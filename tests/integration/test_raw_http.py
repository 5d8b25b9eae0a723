"""Bytes that are no ordinary HTTP, on a socket, as an attacker sends them."""

import asyncio
from urllib.parse import urlsplit

import pytest

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
REQUESTS = {
    "one long header": (b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + LONG + b"\r\n", b"431"),
    "many headers": (b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + MANY + b"\r\n", b"431"),
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


async def send_until_closed(url: str, head: bytes, line: bytes) -> None:
    """Send the head, then the line again and again. Raises ConnectionError when the server closes the connection."""
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head)
    try:
        async with asyncio.timeout(10):
            while True:
                writer.write(line)
                await writer.drain()
                await asyncio.sleep(0)
    finally:
        writer.close()


async def test_endless_trailers_end_the_connection(api: Api) -> None:
    line = b"x1: " + b"a" * 1000 + b"\r\n"
    async with serve(api) as client:
        with pytest.raises(ConnectionError):
            await send_until_closed(str(client.base_url), CHUNKED + b"2\r\n{}\r\n0\r\n", line)
