"""Server-sent events, as far as the service sends them."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import httpx2


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, and its data, which is JSON here."""

    name: str
    data: str


async def read_events(response: httpx2.Response) -> AsyncGenerator[Event]:
    """Yield the events of an answer as they come; one that was broken off is none."""
    name = ""
    data: list[str] = []
    async for line in _read_lines(response):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield Event(name, "\n".join(data))
            name, data = "", []


async def _read_lines(response: httpx2.Response) -> AsyncIterator[str]:
    """Lines that end with a line feed alone: httpx2's own also end at U+2028 and others, which JSON may hold."""
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()
