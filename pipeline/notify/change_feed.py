"""The change feed: wakes waiters when PostgreSQL notifies of a changed document or note.

Each process has one LISTEN connection. While it is down, waiters poll. LISTEN has no effect through PgBouncer in
transaction mode, so there is no connection then, and waiters always poll.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import func, select

from pipeline.db import notifications
from pipeline.db.connection import connect, make_options
from pipeline.db.models import SERVICE_ROLE
from pipeline.db.session import BROKEN_CONNECTION
from pipeline.errors import UnsafeDatabase
from pipeline.logs import get_logger
from pipeline.types import Subject

RECONNECT_SECONDS = 1.0
ALIVE_CHECK_SECONDS = 5.0

_PING = str(select(func.now()))

log = get_logger()


class ChangeFeed:
    """Wakes waiters for one document, or for everything of an owner, when PostgreSQL notifies of a change."""

    def __init__(self, url: str, *, timeout_seconds: float, is_pooled: bool = False) -> None:
        self._dsn = url.replace("+asyncpg", "")
        self._timeout_seconds = timeout_seconds
        self._is_pooled = is_pooled
        self._watches: defaultdict[UUID, set[Watch]] = defaultdict(set)
        """Watches by the id of a document, note or owner."""
        self._task: asyncio.Task[None] | None = None
        self.is_listening = False
        """False while the connection is down. Waiters must then poll."""

    def start(self) -> None:
        """Start listening. The feed reconnects whenever the connection is lost, and after a programming error."""
        if self._is_pooled:
            return
        self._task = asyncio.create_task(self._listen())
        self._task.add_done_callback(self._restart)

    async def close(self) -> None:
        """Stop listening."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _restart(self, task: asyncio.Task[None]) -> None:
        """Let waiters poll, and listen again after a pause."""
        if task.cancelled():
            return
        log.error("change_feed.failed", exc_info=task.exception())
        self._set_listening(is_listening=False)
        self._task = asyncio.create_task(asyncio.sleep(RECONNECT_SECONDS))
        self._task.add_done_callback(lambda pause: None if pause.cancelled() else self.start())

    @contextmanager
    def watch(self, watched_id: UUID) -> Iterator["Watch"]:
        """Watch a document, or everything of an owner. No change after this call is missed."""
        watch = Watch()
        self._watches[watched_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[watched_id].discard(watch)
            if not self._watches[watched_id]:
                del self._watches[watched_id]

    async def _listen(self) -> None:
        while True:
            try:
                async with self._connection() as connection:
                    await connection.add_listener(notifications.CHANNEL, self._wake)
                    self._set_listening(is_listening=True)
                    while True:
                        await asyncio.sleep(ALIVE_CHECK_SECONDS)
                        await connection.fetchval(_PING)
            except (asyncpg.PostgresError, *BROKEN_CONNECTION, OSError, TimeoutError, UnsafeDatabase) as error:
                log.warning("change_feed.disconnected", cause=repr(error))
                self._set_listening(is_listening=False)
                await asyncio.sleep(RECONNECT_SECONDS)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        options = make_options(timeout_seconds=self._timeout_seconds, role=SERVICE_ROLE, is_pooled=False)
        connection = await connect(self._dsn, is_pooled=False, **options)
        try:
            yield connection
        finally:
            connection.terminate()

    def _wake(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        subject = notifications.parse(str(payload))
        if subject is None:
            self._wake_all()
            return
        for watched_id in (subject.id, subject.owner_id):
            for watch in self._watches.get(watched_id, ()):
                watch.notify(subject)

    def _set_listening(self, *, is_listening: bool) -> None:
        self.is_listening = is_listening
        self._wake_all()

    def _wake_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.notify_all()


@dataclass
class Changes:
    """The changed documents and notes. If `everything` is True, any others may have changed, too."""

    subjects: set[Subject] = field(default_factory=set)
    everything: bool = False


class Watch:
    """Collects the changes for one waiter."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._changes = Changes()

    def notify(self, subject: Subject) -> None:
        """Add a changed document or note."""
        self._changes.subjects.add(subject)
        self._changed.set()

    def notify_all(self) -> None:
        """Record that any document or note may have changed."""
        self._changes.everything = True
        self._changed.set()

    async def next(self, seconds: float) -> Changes:
        """Return the changes since the last call. Wait for the first one, but no longer than `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()
        changes, self._changes = self._changes, Changes()
        return changes
