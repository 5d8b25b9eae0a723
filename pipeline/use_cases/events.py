"""Follow changes to documents and notes while a client stays connected."""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import monotonic
from typing import TypeGuard
from uuid import UUID

from pipeline.db import access
from pipeline.errors import NotFound
from pipeline.queue_front import QueueFront
from pipeline.runtime import Runtime
from pipeline.types import Caller, Change, Deleted, Document, NoteState, Status, Subject, SubjectKind

OVERLAP = timedelta(seconds=60)
"""Longest time between the timestamp of a change and the commit that makes the change visible."""
READ_AT_ONCE = 100
"""Maximum number of states that one transaction reads."""
MAX_SEEN = 200
"""Maximum number of states that a follower remembers: an account can have 100 streams, and 10,000 documents waiting."""

_Current = Document | NoteState
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


async def follow_document(
    runtime: Runtime, caller: Caller, document_id: UUID, last_id: int | None
) -> AsyncGenerator[list[Change]]:
    """Yield the state of a document now and after each change, until it is terminal or deleted.

    A state whose id is `last_id` is not repeated. A change without a state keeps the connection alive.
    Raises NotFound if the owner has no such document.
    """
    with runtime.changes.watch(document_id) as watch:
        document = await _get(runtime, caller, document_id)
        seen = document if last_id == _to_id(document.updated_at) else None
        sent_at = monotonic()
        while True:
            if document != seen or monotonic() > sent_at + runtime.waits.keep_alive:
                yield [Change(_to_id(document.updated_at), document if document != seen else None)]
                seen, sent_at = document, monotonic()
            if document.status.is_terminal:
                return
            waits = runtime.waits
            await watch.next(waits.queue_position if runtime.changes.is_listening else waits.poll)
            try:
                document = await _get(runtime, caller, document_id)
            except NotFound:
                yield [Change(_to_id(document.updated_at), Deleted(SubjectKind.DOCUMENT, document_id))]
                return


async def _get(runtime: Runtime, caller: Caller, document_id: UUID) -> Document:
    front = await runtime.queue_front.read()
    async with runtime.database.transaction(caller) as session:
        return await access.get_document(session, caller.owner_id, document_id, front.positions)


async def follow(runtime: Runtime, caller: Caller, last_id: int | None) -> AsyncGenerator[list[Change]]:
    """Yield the changes to all documents and notes of the owner, until the caller stops.

    The first changes are the unfinished ones or, with `last_id`, those that have changed since. A state may be sent
    twice. A deletion is sent only if it happens while the client follows. After an outage, deletions during it are sent
    for the latest MAX_SEEN states only.
    """
    with runtime.changes.watch(caller.owner_id) as watch:
        follower = Follower(runtime, caller, last_id)
        async for changes in follower.catch_up():
            yield changes
        while True:
            is_listening = runtime.changes.is_listening
            news = await watch.next(follower.wait_seconds if is_listening else runtime.waits.poll)
            yield [Change(follower.id, None)]
            if news.everything or not runtime.changes.is_listening:
                async for changes in follower.catch_up():
                    yield changes
            async for changes in follower.read(news.subjects):
                yield changes
            if moved := await follower.find_moved():
                yield moved


class Follower:
    """What one client has seen."""

    def __init__(self, runtime: Runtime, caller: Caller, last_id: int | None) -> None:
        self.id = last_id or 0
        """Time up to which the client has all changes, in microseconds since 1970. 0 if it has none yet."""
        self._runtime = runtime
        self._caller = caller
        self.seen: dict[Subject, _Current] = {}
        """The latest states, at most MAX_SEEN."""
        self._positions: dict[UUID, int] = {}
        """Queue positions that were sent last, of the owner's next documents."""
        self._positions_at = monotonic()

    @property
    def wait_seconds(self) -> float:
        """Longest wait for a change."""
        waits = self._runtime.waits
        return waits.queue_position if self._has_pending else waits.keep_alive

    @property
    def _has_pending(self) -> bool:
        return any(_is_pending(state) for state in self.seen.values())

    async def find_moved(self) -> list[Change]:
        """Return the owner's next documents whose queue position has changed."""
        if not self._has_pending or monotonic() < self._positions_at + self._runtime.waits.queue_position:
            return []
        front = await self._runtime.queue_front.read()
        self._positions_at = monotonic()
        following = front.list_next(self._caller.owner_id)
        moved = [document_id for document_id in following if self._positions.get(document_id) != following[document_id]]
        if not moved:
            return []
        _, states, _ = await self._read_batch(
            [Subject(self._caller.owner_id, SubjectKind.DOCUMENT, each) for each in moved]
        )
        self._remember(states, front)
        return [Change(self.id, state) for state in states.values()]

    async def catch_up(self) -> AsyncGenerator[list[Change]]:
        """Yield the states that the client may have missed, then a change without a state.

        Only the last change has a new id. A client that disconnects before that change gets all of them again.
        """
        async with self._runtime.database.transaction(self._caller) as session:
            now = _to_id(await access.read_clock(session))
        last_id = self.id
        async for missed in self._find_missed() if last_id else self._find_unfinished():
            async for changes in self.read(missed):
                yield [Change(last_id, change.state) for change in changes]
        self.id = now
        yield [Change(self.id, None)]

    async def _find_missed(self) -> AsyncGenerator[Collection[Subject]]:
        """Yield what may have changed since the client's last change, once."""
        since = _EPOCH + self.id * _MICROSECOND - OVERLAP
        async with self._take_turn():
            async with self._runtime.database.transaction(self._caller) as session:
                missed = await access.find_changed(session, self._caller.owner_id, since)
            if len(missed) > READ_AT_ONCE:
                await self._runtime.reading_turns.pause()
        yield {*missed, *(subject for subject, state in self.seen.items() if not state.status.is_terminal)}

    async def _find_unfinished(self) -> AsyncGenerator[Collection[Subject]]:
        """Yield the unfinished documents and notes in parts, because a client may have thousands."""
        for kind in SubjectKind:
            after: UUID | None = None
            while True:
                async with self._take_turn(), self._runtime.database.transaction(self._caller) as session:
                    found = await access.find_unfinished(
                        session, self._caller.owner_id, kind, after=after, limit=READ_AT_ONCE
                    )
                yield found
                if len(found) < READ_AT_ONCE:
                    break
                after = found[-1].id

    async def read(self, subjects: Collection[Subject]) -> AsyncGenerator[list[Change]]:
        """Read these documents and notes, oldest first. Yield the new states and the deletions of each batch."""
        rest = iter(sorted(subjects, key=lambda subject: subject.id.int))  # comparing UUIDs takes ten times as long
        while batch := list(islice(rest, READ_AT_ONCE)):
            now, states, front = await self._read_batch(batch)
            changes: list[Change] = []
            for subject in batch:
                state = states.get(subject)
                if state is None:
                    # A caller that is bound to collections is told of nothing outside them.
                    if self.seen.pop(subject, None) or self._caller.collection_ids is None:
                        changes.append(Change(now, Deleted(subject.kind, subject.id)))
                elif state != self.seen.get(subject):
                    changes.append(Change(now, state))
            self.id = now
            self._remember(states, front)
            yield changes

    async def _read_batch(self, batch: Collection[Subject]) -> tuple[int, dict[Subject, _Current], QueueFront]:
        """Return when a batch was read, its states, and the front of the queue then."""
        async with self._take_turn():
            front = await self._runtime.queue_front.read()
            async with self._runtime.database.transaction(self._caller) as session:
                now = _to_id(await access.read_clock(session))
                states = await access.list_states(session, self._caller.owner_id, batch, front.positions)
            if len(batch) == READ_AT_ONCE:
                await self._runtime.reading_turns.pause()
        return now, states, front

    def _take_turn(self) -> AbstractAsyncContextManager[None]:
        return self._runtime.reading_turns.take(self._caller.owner_id)

    def _remember(self, states: Mapping[Subject, _Current], front: QueueFront) -> None:
        """Keep the latest MAX_SEEN states, unfinished ones first, and the positions of the owner's next documents."""
        self.seen |= states
        if len(self.seen) > MAX_SEEN:
            self.seen = {subject: state for subject, state in self.seen.items() if not state.status.is_terminal}
            excess = max(0, len(self.seen) - MAX_SEEN)
            self.seen = dict(islice(self.seen.items(), excess, None))
        sent = {state.id: state.queue_position for state in states.values() if _is_pending(state)}
        known = self._positions | {each: position for each, position in sent.items() if position}
        self._positions = {each: known[each] for each in front.list_next(self._caller.owner_id) if each in known}


def _is_pending(state: _Current) -> TypeGuard[Document]:
    return isinstance(state, Document) and state.status == Status.PENDING


def _to_id(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
