"""News of documents: one LISTEN connection a process. Without it, who waits polls."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import func, select

from pipeline.logs import get_logger

RECONNECT_SECONDS = 1.0
ALIVE_CHECK_SECONDS = 5.0
POLL_SECONDS = 1.0
"""How long a waiter trusts silence: news can be lost while the connection is away."""

_PING = str(select(func.now()))

log = get_logger()


class ChangeFeed:
    """Wakes those who wait for a document when PostgreSQL says that it changed."""

    def __init__(self, url: str, channel: str, *, timeout_seconds: float) -> None:
        self._dsn = url.replace("+asyncpg", "")
        self._channel = channel
        self._timeout_seconds = timeout_seconds
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen; reconnects for ever."""
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @contextmanager
    def watch(self, document_id: UUID) -> Iterator["Watch"]:
        """Watch a document; changes from here on are noticed."""
        changed = asyncio.Event()
        key = str(document_id)
        self._waiting[key].add(changed)
        try:
            yield Watch(changed)
        finally:
            self._waiting[key].discard(changed)
            if not self._waiting[key]:
                del self._waiting[key]

    async def _listen(self) -> None:
        while True:
            try:
                async with self._connection() as connection:
                    await connection.add_listener(self._channel, self._wake)
                    self._wake_all()
                    while True:
                        await asyncio.sleep(ALIVE_CHECK_SECONDS)
                        await connection.fetchval(_PING)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                log.warning("changes.disconnected", cause=repr(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(
            self._dsn,
            timeout=self._timeout_seconds,
            command_timeout=self._timeout_seconds,
            server_settings={"application_name": "sluice-changes"},
        )
        try:
            yield connection
        finally:
            connection.terminate()

    def _wake(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for changed in self._waiting.get(str(payload), ()):
            changed.set()

    def _wake_all(self) -> None:
        for watchers in self._waiting.values():
            for changed in watchers:
                changed.set()


class Watch:
    """One waiter's view of a document's changes."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._changed = changed

    async def next(self, seconds: float) -> None:
        """Return at the next change, or after `seconds`, or when it is time to look anyway."""
        try:
            async with asyncio.timeout(min(seconds, POLL_SECONDS)):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()
