"""A receiver of webhooks that decides by itself how it answers."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

Decide = Callable[[dict[str, Any]], Awaitable[int]]
"""Returns the status of the answer to an event, by its body."""


async def accept(_event: dict[str, Any]) -> int:
    return 200


@dataclass
class Receiver:
    """What a receiver was sent: the headers and the body of each request."""

    port: int = 0
    connections: int = 0
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Decide = accept
    headers: str = ""
    """Header lines of every answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=of-the-receiver"

    def verify(self, secret: str) -> list[dict[str, Any]]:
        """Return the events. Check their signatures with the public library."""
        return [Webhook(secret).verify(body, headers) for headers, body in self.requests]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append((headers, body))
            status = await self.answer(json.loads(body))
            writer.write(f"HTTP/1.1 {status} Status\r\n{self.headers}Content-Length: 0\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sender has gone
        finally:
            writer.close()


@asynccontextmanager
async def receiving(
    port: int = 0, ssl_context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(**options)
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", port, ssl=ssl_context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
