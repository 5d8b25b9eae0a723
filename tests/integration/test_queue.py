"""The queue: turns, fencing, leases, crashes, failures and returned jobs. No test depends on timing."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest

from pipeline.db import access, queue
from pipeline.db.claim_starts import WHOLE_QUEUE_SECONDS, ClaimStarts
from pipeline.db.crashes import MAX_CRASHES, MAX_REPEATS
from pipeline.db.listing import list_documents
from pipeline.errors import FailureCode, IngestionError, LeaseLost
from pipeline.ingest.executor import ingest
from pipeline.ingest.heartbeat import Heartbeat, HeldLease
from pipeline.ingest.progress import StageReporter
from pipeline.ingest.sweeper import Sweeper
from pipeline.queue_front import MAX_AGE_SECONDS, MAX_NEXT, QueueFront, share_front
from pipeline.runtime import Runtime
from pipeline.types import Caller, Document, Lease, Listing, ReceivedFile, Stage, new_id
from tests.databases import fetch, fetch_value, find_violations, rewrite_statements
from tests.integration.conftest import LEASE_SECONDS, Clock, claim, ignore_stage, observe, wait_for, work

pytestmark = pytest.mark.anyio


async def add_owner(url: str) -> UUID:
    owner = new_id()
    await fetch(url, "INSERT INTO users (id, email, password_hash) VALUES ($1, $2, '')", owner, str(owner))
    return owner


async def add_document(runtime: Runtime, owner: UUID, text: str = "") -> UUID:
    import hashlib
    import io

    from pipeline.use_cases import documents

    content = (text or f"Text {uuid4()}").encode()
    received = ReceivedFile(
        "a.txt", "text/plain", None, len(content), hashlib.sha256(content).digest(), io.BytesIO(content)
    )
    document, is_duplicate = await documents.upload(runtime, Caller(owner), received)
    assert not is_duplicate
    return document.id


async def show(runtime: Runtime, owner: UUID, document: UUID) -> Document:
    async with runtime.database.transaction(Caller(owner)) as session:
        return await access.get_document(session, owner, document)


async def sweep(runtime: Runtime) -> int:
    """Look at the leases for the length of a lease, by a clock that runs faster."""
    clock = Clock()
    return await observe(Sweeper(runtime.database, LEASE_SECONDS, clock), clock)


async def test_owners_take_turns(runtime: Runtime, database_url: str) -> None:
    many, few = await add_owner(database_url), await add_owner(database_url)
    for _ in range(20):
        await add_document(runtime, many)
    in_progress = [await claim(runtime) for _ in range(2)]
    assert all(lease and lease.subject.owner_id == many for lease in in_progress)
    late = [await add_document(runtime, few) for _ in range(3)]
    # The newcomer is next. After that, the two alternate.
    order = [lease.subject.owner_id for _ in range(6) if (lease := await claim(runtime))]
    assert order[0] == few
    assert Counter(order) == {few: 3, many: 3}
    assert (await show(runtime, few, late[0])).status == "processing"


async def test_queue_position_counts_down(runtime: Runtime, database_url: str) -> None:
    owner = await add_owner(database_url)
    documents = [await add_document(runtime, owner) for _ in range(3)]
    assert [(await show(runtime, owner, document)).queue_position for document in documents] == [1, 2, 3]
    await claim(runtime)
    assert [(await show(runtime, owner, document)).queue_position for document in documents] == [None, 1, 2]


async def test_positions_are_the_order_of_claims(runtime: Runtime, database_url: str) -> None:
    anna, bert = await add_owner(database_url), await add_owner(database_url)
    documents = [(owner, await add_document(runtime, owner)) for owner in (anna, anna, anna, bert, bert)]
    positions: dict[UUID, int | None] = {}
    for owner in (anna, bert):
        async with runtime.database.transaction(Caller(owner)) as session:
            listed = await list_documents(session, Caller(owner), Listing(), limit=50, cursor=None)
        positions |= {document.id: document.queue_position for document in listed.items}
    async with runtime.database.transaction() as session:
        front, owners = await queue.list_front(session)
        assert await queue.list_front(session, limit=2) == (front[:32], owners[:32])
    claimed = [lease.subject.id for _ in documents if (lease := await claim(runtime))]
    assert claimed == sorted(positions, key=lambda document: positions[document] or 0)
    assert b"".join(document.bytes for document in claimed) == front
    assert sorted(positions.values(), key=lambda position: position or 0) == [1, 2, 3, 4, 5]


async def test_front_names_the_next_documents_of_each_owner(runtime: Runtime, database_url: str) -> None:
    anna, bert = await add_owner(database_url), await add_owner(database_url)
    of_anna = [await add_document(runtime, anna) for _ in range(MAX_NEXT + 1)]
    note = "INSERT INTO jobs (owner_id, kind, subject_id, turn) VALUES ($1, 'note', gen_random_uuid(), 100)"
    await fetch(database_url, note, bert)
    front = await share_front(runtime.database).read()
    assert set(front.positions.values()) == set(range(1, MAX_NEXT + 3))
    assert list(front.list_next(anna)) == of_anna[:MAX_NEXT]
    assert all(front.positions[each.bytes] == position for each, position in front.list_next(anna).items())
    assert not front.list_next(bert), "a note has no position that its owner sees"
    straddling = QueueFront(front.ids[:32], bytes(8) + anna.bytes + bytes(8), {})
    assert not straddling.list_next(anna)


async def test_many_readers_of_positions_share_one_query(runtime: Runtime, database_url: str) -> None:
    owner, clock = await add_owner(database_url), Clock()
    document = await add_document(runtime, owner)
    shared = share_front(runtime.database, clock)
    statements: list[str] = []

    def note(statement: str) -> str:
        statements.append(statement)
        return statement

    with rewrite_statements(note):
        read = await asyncio.gather(*(shared.read() for _ in range(100)))
        assert [front.positions for front in read] == [{document.bytes: 1}] * 100
        assert len([statement for statement in statements if "jobs" in statement]) == 1
        clock.now += MAX_AGE_SECONDS
        await shared.read()
        assert len([statement for statement in statements if "jobs" in statement]) == 2


@pytest.mark.parametrize(("later", "order"), [(0.0, [2, 0]), (WHOLE_QUEUE_SECONDS, [0, 2])])
async def test_returned_job_is_claimed_at_its_old_place_seconds_later(
    runtime: Runtime, database_url: str, later: float, order: list[int]
) -> None:
    """A claim begins at the job that was claimed last, but not for longer than a few seconds."""
    owner, clock = await add_owner(database_url), Clock()
    starts = ClaimStarts(clock)
    documents = [await add_document(runtime, owner) for _ in range(3)]

    async def claim_next() -> Lease | None:
        async with runtime.database.transaction() as session:
            return await queue.claim(session, LEASE_SECONDS, alone=True, starts=starts)

    first, second = await claim_next(), await claim_next()
    assert first
    assert second
    async with runtime.database.transaction(Caller(owner)) as session:
        await queue.give_back(session, first)
    clock.now += later
    assert [lease.subject.id for _ in order if (lease := await claim_next())] == [documents[place] for place in order]
    assert await claim_next() is None


@pytest.mark.parametrize("starts", [ClaimStarts(), None])
async def test_claim_says_whether_it_leaves_jobs_waiting(
    runtime: Runtime, database_url: str, starts: ClaimStarts | None
) -> None:
    owner = await add_owner(database_url)
    for _ in range(3):
        await add_document(runtime, owner)
    leases = []
    async with runtime.database.transaction() as session:
        while lease := await queue.claim(session, LEASE_SECONDS, alone=True, starts=starts):
            leases.append(lease)
    assert [lease.is_last for lease in leases] == [False, False, True]
    async with runtime.database.transaction(Caller(owner)) as session:
        await queue.give_back(session, leases[0])
    await add_document(runtime, owner)
    async with runtime.database.transaction() as session:
        first = await queue.claim(session, LEASE_SECONDS, alone=True)
    assert first
    assert (first.subject, first.is_last) == (leases[0].subject, False)


async def test_concurrent_claims_give_each_job_to_one_worker(runtime: Runtime, database_url: str) -> None:
    owner = await add_owner(database_url)
    for _ in range(20):
        await add_document(runtime, owner)
    leases: list[Lease] = []

    async def claim_all() -> None:
        while lease := await claim(runtime):
            leases.append(lease)

    await asyncio.gather(*(claim_all() for _ in range(8)))
    assert len(leases) == len({lease.subject.id for lease in leases}) == 20


async def test_paused_holder_writes_nothing(runtime: Runtime, database_url: str) -> None:
    """Fencing: the results of a worker that has lost its lease are not stored."""
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner)
    paused = await claim(runtime)
    assert paused
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause(_lease: Lease, stage: Stage, _progress: float) -> None:
        if stage == Stage.STORING:
            reached.set()
            await go_on.wait()

    await runtime.encoders.wait()
    slow = asyncio.create_task(ingest(runtime, paused, pause))
    await reached.wait()
    assert await sweep(runtime) == 1
    winner = await claim(runtime)
    assert winner
    assert winner.token != paused.token
    await ingest(runtime, winner, ignore_stage)
    finished = await show(runtime, owner, document)
    go_on.set()
    await slow
    assert await show(runtime, owner, document) == finished
    assert finished.attempts == 2
    assert await asyncio.to_thread(find_violations, database_url) == {}


@pytest.mark.parametrize("end", ["complete", "fail", "retry", "give_back"])
async def test_every_end_is_guarded_by_the_token(runtime: Runtime, database_url: str, end: str) -> None:
    ends: dict[str, Callable[..., Awaitable[object]]] = {
        "complete": queue.complete,
        "fail": partial(queue.fail, error=IngestionError(FailureCode.EMBEDDING_FAILED, "Message.")),
        "retry": partial(queue.retry_or_fail, error=IngestionError(FailureCode.EMBEDDING_FAILED, "Message.")),
        "give_back": queue.give_back,
    }
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner)
    lease = await claim(runtime)
    assert lease
    stale = replace(lease, token=uuid4())
    before = await show(runtime, owner, document)
    async with runtime.database.transaction() as session:
        with pytest.raises(LeaseLost):
            await ends[end](session, stale)
    async with runtime.database.transaction() as session:
        await queue.report_progress(session, stale, 0.9)
        assert await queue.extend(session, [stale.token], 60) == set()
    assert await show(runtime, owner, document) == before


async def test_short_documents_overtake_long_ones_that_keep_their_place(runtime: Runtime, database_url: str) -> None:
    owner = await add_owner(database_url)
    long = [await add_document(runtime, owner, f"{number} " * 150_000) for number in range(2)]
    short = await add_document(runtime, owner)
    claimed = [await claim(runtime, 60, only_short=only_short) for only_short in (True, True, False, False)]
    assert [lease and lease.subject.id for lease in claimed] == [short, None, *long]


async def test_guest_is_a_short_document_of_another_owner(runtime: Runtime, database_url: str) -> None:
    host, other, guest = [await add_owner(database_url) for _ in range(3)]
    for _ in range(3):
        await add_document(runtime, host)
    assert await claim(runtime)
    await add_document(runtime, other, "long " * 60_000)
    assert await claim(runtime, 60, only_short=True, guest_of={host}) is None
    document = await add_document(runtime, guest)
    lease = await claim(runtime, 60, only_short=True, guest_of={host})
    assert lease
    assert lease.subject.id == document


async def test_returned_job_of_a_host_is_no_guest(runtime: Runtime, database_url: str) -> None:
    """It has its old place before jobs that are being served, like a guest."""
    host = await add_owner(database_url)
    for _ in range(2):
        await add_document(runtime, host)
    first, second = await claim(runtime), await claim(runtime)
    assert first
    assert second
    async with runtime.database.transaction() as session:
        await queue.give_back(session, first)
    assert await claim(runtime, 60, only_short=True, guest_of={host}) is None
    assert await claim(runtime, 60, only_short=True, guest_of={uuid4()})


async def crash(runtime: Runtime, step: int, *, alone: bool = True) -> Lease:
    """Claim the next job, take it to a step, and lose it as a killed worker does."""
    lease = await claim(runtime, alone=alone)
    assert lease
    async with runtime.database.transaction() as session:
        await queue.mark_step(session, lease, step)
    assert await sweep(runtime) == 1
    return lease


async def test_document_that_kills_its_worker_fails(runtime: Runtime, database_url: str) -> None:
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner)
    assert not (await crash(runtime, 7)).is_suspect
    for _ in range(MAX_REPEATS):
        assert (await show(runtime, owner, document)).status == "pending"
        assert await claim(runtime, alone=False) is None
        assert (await crash(runtime, 7)).is_suspect
    failed = await show(runtime, owner, document)
    assert failed.error
    assert (failed.status, failed.error.code, failed.attempts) == ("failed", "worker_lost", 1 + MAX_REPEATS)
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 0


async def test_document_whose_workers_die_at_different_places_is_innocent(runtime: Runtime, database_url: str) -> None:
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner)
    for step in (7, 7, 7, 7, 8, 7, 8, 7, 9, 10):
        await crash(runtime, step)
    assert await work(runtime) == 1
    assert (await show(runtime, owner, document)).status == "ready"


async def test_number_of_crashes_is_bounded(runtime: Runtime, database_url: str) -> None:
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner)
    await fetch(database_url, "UPDATE jobs SET crashes = $1", MAX_CRASHES - 1)
    await crash(runtime, 7)
    assert (await show(runtime, owner, document)).status == "failed"


async def test_suspects_take_the_same_steps_each_time(runtime: Runtime, database_url: str) -> None:
    """Otherwise two crashes at the same place would be recorded at different steps."""
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner, "\n".join(f"Sentence number {line}." for line in range(500)))
    await crash(runtime, 1)
    lease = await claim(runtime)
    assert lease
    held = HeldLease(progressed_at=0.0)
    marked: list[int] = []
    stages: list[Stage] = []

    async def note_step(_lease: Lease, stage: Stage, _progress: float) -> None:
        stages.append(stage)
        marked.append(await fetch_value(database_url, "SELECT step FROM jobs"))
        if stage == Stage.STORING:
            raise LeaseLost

    await runtime.encoders.wait()
    for _ in range(2):
        await ingest(runtime, lease, StageReporter(runtime.database, held, note_step))
    half = len(marked) // 2
    assert stages[half:] == stages[:half]
    assert stages[:half].count(Stage.EMBEDDING) > 1, "four chunks at a time"
    assert marked[: half - 1] == list(range(1, half))
    assert marked[half:] == marked[:half]
    assert (await show(runtime, owner, document)).status == "processing"


async def test_suspect_that_has_waited_goes_before_other_jobs(runtime: Runtime, database_url: str) -> None:
    """On a busy service no worker would ever be free to run it alone."""
    owner = await add_owner(database_url)
    await add_document(runtime, owner)
    suspect = await crash(runtime, 7)
    for _ in range(3):
        await add_document(runtime, owner)
    assert await claim(runtime, alone=False)
    patience = queue.SUSPECT_PATIENCE.total_seconds()
    await fetch(database_url, "UPDATE jobs SET available_at = now() - make_interval(secs => $1)", patience)
    assert await claim(runtime, alone=False) is None
    first = await claim(runtime, alone=True)
    assert first
    assert first.subject == suspect.subject
    assert await claim(runtime, alone=False)


async def test_jobs_lost_in_a_restart_of_the_server_do_not_count_as_crashes(
    runtime: Runtime, database_url: str
) -> None:
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner)
    await claim(runtime, 60)
    await fetch(database_url, "UPDATE jobs SET server_started = server_started - interval '1 second'")
    assert await sweep(runtime) == 1
    assert await fetch_value(database_url, "SELECT crashes FROM jobs") == 0
    pending = await show(runtime, owner, document)
    assert (pending.status, pending.attempts) == ("pending", 0)


async def test_heartbeat_keeps_a_lease_while_the_event_loop_is_blocked(runtime: Runtime, database_url: str) -> None:
    import time

    await add_document(runtime, await add_owner(database_url))
    lease = await claim(runtime, 1.0)
    assert lease
    heartbeat = Heartbeat(runtime.settings.sqlalchemy_url, lease_seconds=1.0, stall_seconds=60)
    heartbeat.start()
    try:
        with heartbeat.hold(lease.token) as held:
            before = await fetch_value(database_url, "SELECT lease_until FROM jobs")
            time.sleep(1.5)  # noqa: ASYNC251 - blocks the event loop on purpose
            assert await fetch_value(database_url, "SELECT lease_until FROM jobs") > before + timedelta(seconds=1)
            held.touch()
    finally:
        heartbeat.stop()


async def test_stalled_work_loses_its_lease(runtime: Runtime, database_url: str) -> None:
    """Heartbeats do not extend the lease of a document that hangs."""
    await add_document(runtime, await add_owner(database_url))
    lease = await claim(runtime, 0.6)
    assert lease
    heartbeat = Heartbeat(runtime.settings.sqlalchemy_url, lease_seconds=0.6, stall_seconds=0.5)
    heartbeat.start()
    try:
        sweeper = Sweeper(runtime.database, 0.6)
        with heartbeat.hold(lease.token):
            await wait_for(sweeper.sweep)
    finally:
        heartbeat.stop()


async def test_time_without_a_look_at_the_leases_hardly_counts(runtime: Runtime, database_url: str) -> None:
    await add_document(runtime, await add_owner(database_url))
    clock = Clock()
    sweeper = Sweeper(runtime.database, LEASE_SECONDS, clock)
    assert await claim(runtime, LEASE_SECONDS)
    assert await sweeper.sweep() == 0
    for _ in range(3):
        clock.now += 10 * LEASE_SECONDS
        assert await sweeper.sweep() == 0
    clock.now += LEASE_SECONDS
    assert await sweeper.sweep() == 1


async def test_holder_notices_that_its_lease_is_lost(runtime: Runtime, database_url: str) -> None:
    await add_document(runtime, await add_owner(database_url))
    lease = await claim(runtime, 60)
    assert lease
    heartbeat = Heartbeat(runtime.settings.sqlalchemy_url, lease_seconds=0.6, stall_seconds=60)
    heartbeat.start()
    try:
        with heartbeat.hold(lease.token) as held:
            await fetch(database_url, "UPDATE jobs SET lease_token = gen_random_uuid()")
            await wait_for(lambda: held.is_lost)
            with pytest.raises(LeaseLost):
                held.touch()
    finally:
        heartbeat.stop()


async def test_unexpected_failure_is_tried_three_times(runtime: Runtime, database_url: str) -> None:
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner)

    async def crash(_lease: Lease, stage: Stage, _progress: float) -> None:
        if stage == Stage.EMBEDDING:
            raise ZeroDivisionError("nobody foresaw this")

    await runtime.encoders.wait()
    for attempt in (1, 2, 3):
        assert await work(runtime, crash) == 1
        shown = await show(runtime, owner, document)
        assert shown.attempts == attempt
        assert shown.status == ("failed" if attempt == 3 else "pending")
        assert await work(runtime, crash) == 0, "the next attempt has to wait"
        await fetch(database_url, "UPDATE jobs SET available_at = now()")
    assert shown.error
    assert "ZeroDivision" not in shown.error.message
    assert await asyncio.to_thread(find_violations, database_url) == {}


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage != Stage.STORED])
async def test_cancelled_ingestion_gives_the_attempt_back(runtime: Runtime, database_url: str, stage: Stage) -> None:
    owner = await add_owner(database_url)
    document = await add_document(runtime, owner)
    reached = asyncio.Event()

    async def stop(_lease: Lease, at: Stage, _progress: float) -> None:
        if at == stage:
            reached.set()
            await asyncio.Event().wait()

    await runtime.encoders.wait()
    lease = await claim(runtime)
    assert lease
    task = asyncio.create_task(ingest(runtime, lease, stop))
    await reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    returned = await show(runtime, owner, document)
    assert (returned.status, returned.attempts, returned.progress) == ("pending", 0, 0.0)
    assert await work(runtime) == 1
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_concurrent_delete_and_retry_leave_no_job(runtime: Runtime, database_url: str) -> None:
    from pipeline.errors import SluiceError
    from pipeline.use_cases import documents

    owner = await add_owner(database_url)
    for _ in range(20):
        document = await add_document(runtime, owner)
        lease = await claim(runtime)
        assert lease
        async with runtime.database.transaction() as session:
            await queue.fail(session, lease, IngestionError(FailureCode.MALFORMED, "Message."))
        results = await asyncio.gather(
            documents.retry(runtime, Caller(owner), document),
            documents.delete(runtime, Caller(owner), document),
            return_exceptions=True,
        )
        assert all(not isinstance(result, BaseException) or isinstance(result, SluiceError) for result in results)
        assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 0
        assert await fetch_value(database_url, "SELECT count(*) FROM documents") == 0
