"""Changes that event streams report, and the streams over HTTP."""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from api.controllers.events import OpenStreams
from api.tokens import LEEWAY
from pipeline.db import notifications, queue
from pipeline.errors import NotFound, TooManyRequests
from pipeline.queue_front import MAX_NEXT, share_front
from pipeline.reading_turns import ReadingTurns
from pipeline.types import Caller, Change, Deleted, Document, Identity, Lease, NoteState, Stage, Subject, SubjectKind
from pipeline.use_cases import events
from pipeline.use_cases.events import MAX_SEEN, READ_AT_ONCE, Follower
from tests.databases import fetch, rewrite_statements
from tests.integration.conftest import Api, Person, claim

pytestmark = pytest.mark.anyio

WAITING, STREAMS = 300, 10
ADD_WAITING = """
WITH added AS (
    INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256)
    SELECT $1, gen_random_uuid(), 'a.txt', 'text/plain', 1, sha256(number::text::bytea)
    FROM generate_series(1, $2::int) AS number RETURNING id
)
INSERT INTO jobs (owner_id, kind, subject_id, turn) SELECT $1, 'document', id, row_number() OVER () FROM added"""


async def find_id(api: Api, person: Person) -> UUID:
    return UUID((await api.get(person, "/v1/users/me")).json()["id"])


def get_id(location: str) -> UUID:
    return UUID(location.rsplit("/", 1)[1])


class Listener:
    """Reads a stream, with a time limit for each change."""

    def __init__(self, changes: AsyncGenerator[list[Change]]) -> None:
        self._changes = changes
        self._received: deque[Change] = deque()
        self.last_id = 0

    async def next(self) -> Change:
        while not self._received:
            async with asyncio.timeout(10):
                self._received += await anext(self._changes)
        change = self._received.popleft()
        self.last_id = change.id
        return change

    async def next_state(self) -> Document | NoteState | Deleted:
        async with asyncio.timeout(10):
            while (change := await self.next()).state is None:
                pass
        return change.state

    async def settle(self) -> list[Document | NoteState | Deleted]:
        """Return the states before the first change without a state."""
        states = []
        while state := (await self.next()).state:
            states.append(state)
        return states


@asynccontextmanager
async def following(api: Api, owner_id: UUID, last_id: int | None = None) -> AsyncIterator[Listener]:
    async with aclosing(events.follow(api.runtime, Caller(owner_id), last_id)) as changes:
        yield Listener(changes)


@pytest.mark.waits(poll=60.0)
async def test_stream_of_a_document_reports_every_change_until_it_is_ready(api: Api) -> None:
    person = await api.register()
    owner_id = await find_id(api, person)
    document_id = get_id((await api.upload(person, b"some text")).headers["location"])
    listener = Listener(events.follow_document(api.runtime, Caller(owner_id), document_id, None))
    told = [await listener.next_state()]

    async def report(lease: Lease, stage: Stage, progress: float) -> None:
        if stage not in (Stage.EXTRACTING, Stage.EMBEDDING):
            return
        async with api.runtime.database.transaction(Caller(owner_id)) as session:
            await queue.report_progress(session, lease, progress)
        told.append(await listener.next_state())

    await api.work(report)
    told.append(await listener.next_state())
    with pytest.raises(StopAsyncIteration):
        await listener.next()
    documents = [state for state in told if isinstance(state, Document)]
    assert [state.status for state in documents] == ["pending", *["processing"] * (len(told) - 2), "ready"]
    assert documents[-2].progress > documents[1].progress


async def test_client_with_the_final_state_gets_no_event(api: Api) -> None:
    person = await api.register()
    owner_id = await find_id(api, person)
    document_id = get_id((await api.upload(person, b"some text")).headers["location"])
    await api.work()

    async def follow(last_id: int | None) -> list[Change]:
        changes = events.follow_document(api.runtime, Caller(owner_id), document_id, last_id)
        return [change async for batch in changes for change in batch]

    first = await follow(None)
    assert [change.state.status for change in first if isinstance(change.state, Document)] == ["ready"]
    assert await follow(first[-1].id) == []
    assert await follow(first[-1].id - 1) == first


async def test_deletion_ends_the_stream_of_a_document(api: Api) -> None:
    person, other = await api.register(), await api.register("bert")
    owner_id = await find_id(api, person)
    location = (await api.upload(person, b"some text")).headers["location"]
    with pytest.raises(NotFound):
        await anext(events.follow_document(api.runtime, Caller(await find_id(api, other)), get_id(location), None))
    listener = Listener(events.follow_document(api.runtime, Caller(owner_id), get_id(location), None))
    assert isinstance(await listener.next_state(), Document)
    await api.client.delete(location, headers=person.headers)
    assert await listener.next_state() == Deleted(SubjectKind.DOCUMENT, get_id(location))
    with pytest.raises(StopAsyncIteration):
        await listener.next()


@pytest.mark.waits(poll=60.0, queue_position=60.0)
async def test_stream_of_an_account_reports_its_changes_alone(api: Api) -> None:
    person, other = await api.register(), await api.register("bert")
    async with following(api, await find_id(api, person)) as listener:
        assert await listener.settle() == []
        await api.upload(other, b"of another")
        location = (await api.upload(person, b"some text")).headers["location"]
        state = await listener.next_state()
        assert isinstance(state, Document)
        assert (state.id, state.status) == (get_id(location), "pending")
        note = {"title": "Note", "body": "of a note"}
        response = await api.client.post("/v1/notes", headers=person.headers, json=note)
        state = await listener.next_state()
        assert isinstance(state, NoteState)
        assert (str(state.id), state.title) == (response.json()["id"], "Note")
        await api.client.delete(location, headers=person.headers)
        assert await listener.next_state() == Deleted(SubjectKind.DOCUMENT, get_id(location))


async def test_reconnected_client_gets_what_it_missed(api: Api) -> None:
    person = await api.register()
    owner_id = await find_id(api, person)
    old = get_id((await api.upload(person, b"ready before")).headers["location"])
    await api.work()
    waiting = get_id((await api.upload(person, b"waits before")).headers["location"])
    async with following(api, owner_id) as listener:
        assert [state.id for state in await listener.settle()] == [waiting], "only unfinished documents"
    await api.work()
    later = get_id((await api.upload(person, b"came later")).headers["location"])
    async with following(api, owner_id, listener.last_id) as listener:
        told = {state.id: state.status for state in await listener.settle() if isinstance(state, Document)}
    assert told[waiting] == "ready"
    assert told[later] == "pending"
    assert set(told) <= {old, waiting, later}


async def test_stream_that_breaks_during_its_first_events_starts_over(api: Api, database_url: str) -> None:
    person = await api.register()
    owner_id = await find_id(api, person)
    locations = [(await api.upload(person, f"text {number}".encode())).headers["location"] for number in range(3)]
    await fetch(database_url, "UPDATE documents SET updated_at = now() - interval '1 hour'")
    async with following(api, owner_id) as listener:
        assert isinstance(await listener.next_state(), Document)
    async with following(api, owner_id, listener.last_id) as again:
        assert {state.id for state in await again.settle()} == {get_id(location) for location in locations}


async def test_late_commit_is_reported_after_a_reconnect(api: Api) -> None:
    person = await api.register()
    owner_id = await find_id(api, person)
    document_id = get_id((await api.upload(person, b"some text")).headers["location"])
    lease = await claim(api.runtime)
    assert lease
    async with api.runtime.database.transaction(Caller(owner_id)) as session:
        await queue.report_progress(session, lease, 0.5)
        async with following(api, owner_id) as listener:
            [before] = await listener.settle()
            assert isinstance(before, Document)
            assert before.progress == 0.0
    async with following(api, owner_id, listener.last_id) as listener:
        [after] = [state for state in await listener.settle() if state.id == document_id]
    assert isinstance(after, Document)
    assert after.progress == 0.5


@pytest.mark.waits(poll=0.05)
async def test_streams_poll_if_notifications_are_lost(api: Api) -> None:
    await api.runtime.changes.close()
    api.runtime.changes.is_listening = False
    person = await api.register()
    async with following(api, await find_id(api, person)) as listener:
        await listener.settle()
        location = (await api.upload(person, b"some text")).headers["location"]
        state = await listener.next_state()
        assert isinstance(state, Document)
        assert (state.id, state.status) == (get_id(location), "pending")
        await api.client.delete(location, headers=person.headers)
        assert await listener.next_state() == Deleted(SubjectKind.DOCUMENT, get_id(location))


@pytest.mark.waits(queue_position=0.05)
async def test_queue_positions_are_reported(api: Api) -> None:
    first, second = await api.register(), await api.register("bert")
    await api.upload(first, b"goes first")
    document_id = get_id((await api.upload(second, b"goes second")).headers["location"])
    async with following(api, await find_id(api, second)) as listener:
        [state] = await listener.settle()
        assert isinstance(state, Document)
        assert state.queue_position == 2
        await claim(api.runtime)
        state = await listener.next_state()
        assert isinstance(state, Document)
        assert (state.id, state.queue_position) == (document_id, 1)


@pytest.mark.waits(queue_position=0.05)
async def test_only_the_next_documents_of_an_owner_are_reported_as_moved(api: Api, database_url: str) -> None:
    first, second = await api.register(), await api.register("bert")
    await api.upload(first, b"goes first")
    owner_id = await find_id(api, second)
    await fetch(database_url, ADD_WAITING, owner_id, MAX_NEXT + 1)
    runtime = replace(api.runtime, queue_front=share_front(api.runtime.database, clock=itertools.count().__next__))
    async with aclosing(events.follow(runtime, Caller(owner_id), None)) as changes:
        listener = Listener(changes)
        await listener.settle()
        await claim(runtime)
        while not (moved := await listener.settle()):
            pass
    assert [state.queue_position for state in moved if isinstance(state, Document)] == list(range(1, MAX_NEXT + 1))


class CountedTurns(ReadingTurns):
    """Turns with the usual order. Pauses are counted, and only let other tasks run."""

    def __init__(self) -> None:
        super().__init__(pause_seconds=0)
        self.reading, self.most_reading, self.pauses = 0, 0, 0

    @asynccontextmanager
    async def take(self, owner_id: UUID) -> AsyncIterator[None]:
        async with super().take(owner_id):
            self.reading += 1
            self.most_reading = max(self.most_reading, self.reading)
            yield
            self.reading -= 1

    async def pause(self) -> None:
        self.pauses += 1
        await super().pause()


async def test_row_47_many_streams_of_an_owner_with_many_waiting_documents(api: Api, database_url: str) -> None:
    """Each stream begins with all of them. They read one at a time, and count no positions of their own."""
    owner_id, turns = await find_id(api, await api.register()), CountedTurns()
    runtime = replace(api.runtime, reading_turns=turns)
    await fetch(database_url, ADD_WAITING, owner_id, WAITING)
    statements: list[str] = []

    def note(statement: str) -> str:
        statements.append(statement)
        return statement

    async def begin() -> list[int]:
        async with aclosing(events.follow(runtime, Caller(owner_id), None)) as changes:
            states = await Listener(changes).settle()
        return sorted(state.queue_position or 0 for state in states if isinstance(state, Document))

    with rewrite_statements(note):
        begun = await asyncio.gather(*(begin() for _ in range(STREAMS)))
    assert begun == [list(range(1, WAITING + 1))] * STREAMS
    assert turns.most_reading == 1
    assert turns.pauses == STREAMS * WAITING // READ_AT_ONCE
    assert not [statement for statement in statements if "lag(jobs" in statement]


@pytest.mark.waits(queue_position=0.05)
async def test_follower_remembers_few_states_and_still_reports_the_next_documents(api: Api, database_url: str) -> None:
    """All others of a long queue are forgotten, so that many streams of it take little memory."""
    owner_id = await find_id(api, await api.register())
    await fetch(database_url, ADD_WAITING, owner_id, MAX_SEEN + READ_AT_ONCE)
    runtime = replace(
        api.runtime,
        queue_front=share_front(api.runtime.database, clock=itertools.count().__next__),
        reading_turns=ReadingTurns(pause_seconds=0),
    )
    follower = Follower(runtime, Caller(owner_id), None)
    begun = [change.state async for batch in follower.catch_up() for change in batch if change.state]
    assert len(begun) == MAX_SEEN + READ_AT_ONCE
    assert len(follower.seen) == MAX_SEEN
    assert await follower.find_moved() == []
    await claim(runtime)
    await asyncio.sleep(0.05)
    moved = await follower.find_moved()
    assert [change.state.queue_position for change in moved if isinstance(change.state, Document)] == list(
        range(1, MAX_NEXT + 1)
    )
    assert len(follower.seen) == MAX_SEEN


async def test_stream_of_a_document_counts_no_positions_of_its_own(api: Api) -> None:
    person = await api.register()
    owner_id = await find_id(api, person)
    document_id = get_id((await api.upload(person, b"some text")).headers["location"])
    statements: list[str] = []

    def note(statement: str) -> str:
        statements.append(statement)
        return statement

    with rewrite_statements(note):
        [first] = await anext(events.follow_document(api.runtime, Caller(owner_id), document_id, None))
    assert isinstance(first.state, Document)
    assert first.state.queue_position == 1
    assert not [statement for statement in statements if "lag(jobs" in statement]


@pytest.mark.waits(poll=0.01, queue_position=60.0)
async def test_stream_of_a_document_does_not_poll_while_notifications_arrive(api: Api) -> None:
    person = await api.register()
    owner_id = await find_id(api, person)
    document_id = get_id((await api.upload(person, b"some text")).headers["location"])
    reads = 0

    def count(statement: str) -> str:
        nonlocal reads
        reads += "FROM documents" in statement
        return statement

    async with aclosing(events.follow_document(api.runtime, Caller(owner_id), document_id, None)) as changes:
        listener = Listener(changes)
        assert isinstance(await listener.next_state(), Document)
        with rewrite_statements(count):
            following = asyncio.create_task(listener.next())
            await asyncio.sleep(0.2)
            assert reads == 0
            await api.client.delete(f"/v1/documents/{document_id}", headers=person.headers)
            assert isinstance((await following).state, Deleted)


async def test_payload_of_another_kind_wakes_all_watchers(api: Api, database_url: str) -> None:
    assert await _wake(api, database_url, "rubbish") == (set(), True)
    subject = Subject(UUID(int=1), SubjectKind.NOTE, UUID(int=2))
    assert await _wake(api, database_url, f"note {subject.owner_id} {subject.id}") == ({subject}, False)


async def _wake(api: Api, database_url: str, payload: str) -> tuple[set[Subject], bool]:
    with api.runtime.changes.watch(UUID(int=1)) as watch:
        await fetch(database_url, "SELECT pg_notify($1, $2)", notifications.CHANNEL, payload)
        changes = await watch.next(5)
    return changes.subjects, changes.everything


async def test_streams_over_http(api: Api) -> None:
    person, other = await api.register(), await api.register("bert")
    location = (await api.upload(person, b"some text")).headers["location"]
    await api.work()
    response = await api.get(person, f"{location}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    [event] = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in response.text.split("\r\n\r\n")[:-1]
    ]
    assert event["event"] == "document"
    assert json.loads(event["data"]) == (await api.get(person, location)).json()
    known = await api.get(person, f"{location}/events", **{"Last-Event-ID": event["id"]})
    assert (known.status_code, known.content) == (204, b"")
    foreign = await api.get(other, f"{location}/events")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    wrong = await api.get(person, "/v1/events", **{"Last-Event-ID": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_input")
    api.app.state.open_streams = OpenStreams(limit=0)
    full = await api.get(person, "/v1/events")
    assert (full.status_code, full.json()["code"]) == (429, "too_many_streams")


@pytest.mark.waits(keep_alive=0.1)
async def test_stream_ends_with_its_token(api: Api) -> None:
    person = await api.register()
    expiring = replace(api.app.state.tokens, lifetime=timedelta(seconds=2) - LEEWAY)
    person.headers["Authorization"] = f"Bearer {expiring.issue(Identity(await find_id(api, person), 0))}"
    following = asyncio.create_task(api.get(person, "/v1/events"))
    await asyncio.sleep(0.5)
    assert not following.done()
    async with asyncio.timeout(5):
        assert (await following).status_code == 200
    assert (await api.get(person, "/v1/events")).status_code == 401


def test_open_streams_are_counted_for_each_user() -> None:
    streams, anna, bert = OpenStreams(limit=1), UUID(int=1), UUID(int=2)
    for _ in range(2):
        with streams.count(anna), streams.count(bert), pytest.raises(TooManyRequests), streams.count(anna):
            pass
    assert not streams.open, "no account without streams is kept"
