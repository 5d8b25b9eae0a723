"""Changes of documents and notes as they happen, for whoever keeps the connection."""

from collections.abc import AsyncGenerator, Collection
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import monotonic
from uuid import UUID

from pipeline.db import access
from pipeline.errors import NotFound
from pipeline.runtime import Runtime
from pipeline.types import Change, Deleted, Document, NoteState, Status, Subject, SubjectKind
from pipeline.use_cases import documents

OVERLAP = timedelta(seconds=60)
"""A change is seen when its transaction ends, and has the time of a moment within it. So long may lie between."""
READ_AT_ONCE = 100
MANY_SEEN = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


async def follow_document(
    runtime: Runtime, owner_id: UUID, document_id: UUID, last_id: int | None
) -> AsyncGenerator[Change]:
    """Yield the document as it is, and whenever it changes, until it is terminal or deleted.

    Begins behind the change that has `last_id`. Raises NotFound.
    """
    with runtime.changes.watch(document_id) as watch:
        document = await documents.get(runtime, owner_id, document_id)
        seen = document if last_id == _to_id(document.updated_at) else None
        told_at = monotonic()
        while True:
            if document != seen or monotonic() > told_at + runtime.waits.keep_alive:
                yield Change(_to_id(document.updated_at), document if document != seen else None)
                seen, told_at = document, monotonic()
            if document.status.is_terminal:
                return
            await watch.next(runtime.waits.poll)
            try:
                document = await documents.get(runtime, owner_id, document_id)
            except NotFound:
                yield Change(_to_id(document.updated_at), Deleted(SubjectKind.DOCUMENT, document_id))
                return


async def follow(runtime: Runtime, owner_id: UUID, last_id: int | None) -> AsyncGenerator[Change]:
    """Yield changes of all the owner's documents and notes, for ever.

    First comes what is unfinished now or, with `last_id`, what has changed since; a state may come twice. What was
    deleted while nobody followed is not told.
    """
    with runtime.changes.watch(owner_id) as watch:
        follower = _Follower(runtime, owner_id, last_id)
        async for change in follower.catch_up():
            yield change
        while True:
            is_listening = runtime.changes.is_listening
            changes = await watch.next(follower.wait_seconds if is_listening else runtime.waits.poll)
            yield Change(follower.id, None)
            if changes.everything or not runtime.changes.is_listening:
                async for change in follower.catch_up():
                    yield change
            async for change in follower.look(changes.subjects | follower.find_waiting()):
                yield change


class _Follower:
    """What one who follows has seen."""

    def __init__(self, runtime: Runtime, owner_id: UUID, last_id: int | None) -> None:
        self.id = last_id or 0
        """Nothing before this moment, in microseconds since 1970, is owed to him; 0: nothing was told yet."""
        self._runtime = runtime
        self._owner_id = owner_id
        self._seen: dict[Subject, Document | NoteState] = {}

    @property
    def wait_seconds(self) -> float:
        """How long to wait for a change."""
        waits = self._runtime.waits
        return waits.queue_position if self.find_waiting() else waits.keep_alive

    def find_waiting(self) -> set[Subject]:
        """Documents whose place in the queue may have changed."""
        return {
            subject
            for subject, state in self._seen.items()
            if isinstance(state, Document) and state.status == Status.PENDING
        }

    async def catch_up(self) -> AsyncGenerator[Change]:
        """Yield what is owed; ends with a change without a state, and only that one says that all before it is told."""
        async with self._runtime.database.transaction(self._owner_id) as session:
            now = _to_id(await access.read_clock(session))
            if self.id:
                since = _EPOCH + self.id * _MICROSECOND - OVERLAP
                owed = await access.find_changed(session, self._owner_id, since)
            else:
                owed = await access.find_unfinished(session, self._owner_id)
        unfinished = [subject for subject, state in self._seen.items() if not state.status.is_terminal]
        told = self.id
        async for change in self.look({*owed, *unfinished}):
            yield Change(told, change.state)
        self.id = now
        yield Change(self.id, None)

    async def look(self, subjects: Collection[Subject]) -> AsyncGenerator[Change]:
        """Yield the states of these that have not been seen, and what of them is gone."""
        rest = iter(sorted(subjects, key=lambda subject: subject.id))  # the oldest first
        while some := list(islice(rest, READ_AT_ONCE)):
            async with self._runtime.database.transaction(self._owner_id) as session:
                now = _to_id(await access.read_clock(session))
                states = await access.list_states(session, self._owner_id, some)
            for subject in some:
                state = states.get(subject)
                if state is None:
                    self._seen.pop(subject, None)
                    yield Change(now, Deleted(subject.kind, subject.id))
                elif state != self._seen.get(subject):
                    self._seen[subject] = state
                    yield Change(now, state)
            self.id = now
            self._forget_finished()

    def _forget_finished(self) -> None:
        if len(self._seen) > MANY_SEEN:
            self._seen = {subject: state for subject, state in self._seen.items() if not state.status.is_terminal}


def _to_id(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
