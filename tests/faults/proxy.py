"""A TCP proxy between the service and its servers. Tests break the network with it."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

PIECE_BYTES = 65536
ORDER_SECONDS = 10

Result = TypeVar("Result")


class Proxy:
    """Passes bytes to a port of this machine until a test breaks it. Open connections break like new ones.

    It runs in a thread of its own and takes orders from any other.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connections: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._left: int | None = None
        self._server: asyncio.Server | None = None
        self.port = 0
        self._order(self._listen())

    def heal(self) -> None:
        """Pass everything again. Bytes that were held back arrive late, as on a network."""
        self._order(self._heal())

    def blackhole(self) -> None:
        """Accept everything and pass nothing, on open connections too."""
        self._order(self._hold())

    def reset(self) -> None:
        """Break all open connections and accept new ones."""
        self._order(self._abort())

    def refuse(self) -> None:
        """Break all open connections and refuse new ones."""
        self._order(self._refuse())

    def cut_after(self, sent_bytes: int) -> None:
        """Break a connection when all clients together have sent this many more bytes."""
        self._left = sent_bytes

    def close(self) -> None:
        """Break everything and end the thread."""
        self._order(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ORDER_SECONDS)
        self._loop.close()

    def _order(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ORDER_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _heal(self) -> None:
        self._left = None
        self._flowing.set()
        if self._server is None:
            await self._listen()

    async def _hold(self) -> None:
        self._flowing.clear()

    async def _abort(self) -> None:
        for writer in list(self._connections):
            writer.transport.abort()

    async def _refuse(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        await self._abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, downstream}
        self._connections |= both
        try:
            await asyncio.gather(self._pump(reader, downstream, counted=True), self._pump(upstream, writer))
        finally:
            self._connections -= both
            for end in both:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE_BYTES):
                await self._flowing.wait()
                if counted and self._left is not None:
                    data, self._left = data[: self._left], max(0, self._left - len(data))
                    if not self._left:
                        writer.write(data)
                        self._left = None
                        break
                writer.write(data)
                await writer.drain()
        for end in list(self._connections):
            if end is writer:
                end.transport.abort()
