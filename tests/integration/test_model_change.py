"""A change of the embedding model: background jobs embed everything again, then searches switch in one step."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import numpy as np
import pytest
from pydantic import HttpUrl, SecretStr
from sqlalchemy import column, exists, make_url, select, table

from pipeline.db import chunks, embedding_models, queue
from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from pipeline.embedding import reembed
from pipeline.embedding.encoder import Encoder
from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.embedding.prompts import Purpose
from pipeline.embedding.reembed import ModelChangeError, ReembedWaits, switch_if_complete
from pipeline.embedding.windows import Window
from pipeline.errors import FailureCode, IngestionError
from pipeline.ingest.executor import ingest
from pipeline.ingest.sweeper import Sweeper
from pipeline.ingest.vectors import BACKGROUND_CHUNKS
from pipeline.operations import health
from pipeline.runtime import Runtime, Waits, open_runtime
from pipeline.settings import Settings
from pipeline.stages.words.lexemes import index_all
from pipeline.types import Caller, JobKind, Lease, SearchMode, Stage, Subject, SubjectKind, TextChunk
from pipeline.use_cases.search import search
from tests.conftest import Logged
from tests.databases import fetch, fetch_value, find_violations
from tests.embedding_server import embed
from tests.integration.conftest import (
    LEASE_SECONDS,
    Api,
    Clock,
    Person,
    claim,
    claim_next,
    ignore_stage,
    observe,
    wait_for,
    work,
)
from tests.llm_server import LlmServer, run_llm_server
from tests.models import load_model
from tests.second_model import DIMENSION, make_model

pytestmark = pytest.mark.anyio

SECTIONS = 150
QUESTION = {"query": "When is lock 7 open?", "top_k": 5}

WAITING = select(exists().where(table("pg_locks", column("granted")).c.granted.is_(False)))

WAITS = ReembedWaits(poll=0.05, notice=0.0)

Answer = list[tuple[str, float]]


class BrokenEncoder(Encoder):
    """Claims to be ready, but fails on every text."""

    is_ready = True

    async def cut(self, texts: Sequence[str], heading: str) -> list[list[Window]]:  # noqa: ARG002 - the signature of the base class
        return [[Window(text)] for text in texts]

    async def encode(self, texts: Sequence[str], purpose: Purpose) -> NoReturn:  # noqa: ARG002 - the signature of the base class
        raise IngestionError(FailureCode.EMBEDDING_FAILED, "No.")


@pytest.fixture(scope="module")
def second_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model"))


def write(sections: int) -> bytes:
    """Return a file. Each of its sections becomes a chunk."""
    return "".join(f"# Lock {number}\n\nIt opens at {number} past seven.\n\n" for number in range(sections)).encode()


async def upload(api: Api, person: Person, content: bytes, name: str) -> str:
    response = await api.upload(person, content, name)
    assert response.status_code == 202, response.text
    return response.headers["location"]


async def ask(api: Api, person: Person, **body: object) -> Answer:
    """Search, and return the passages. There must be some."""
    response = await api.client.post("/v1/search", headers=person.headers, json={**QUESTION, **body})
    assert response.status_code == 200, response.text
    answer = [(passage["text"], round(passage["score"], 3)) for passage in response.json()["passages"]]
    assert answer
    return answer


@asynccontextmanager
async def run_beside(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine until the block ends. Its error is raised then."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def keep_working(runtime: Runtime) -> None:
    while True:
        await work(runtime)
        await asyncio.sleep(0.01)


def name_driver(database_url: str) -> str:
    return make_url(database_url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


async def change(database_url: str, model: str, lines: list[str] | None = None) -> None:
    """Run the operator's command."""
    settings = Settings(_env_file=None, database_url=SecretStr(database_url))
    await reembed.reembed(settings, model, (lines if lines is not None else []).append, WAITS)


async def count(database_url: str, model: str) -> int:
    counted: int = await fetch_value(database_url, "SELECT count(*) FROM vectors WHERE model = $1", model)
    return counted


async def queue_ghost(database_url: str, owner: UUID) -> None:
    """Add a job for a note that was deleted at the same moment."""
    statement = "INSERT INTO jobs (owner_id, kind, subject_id, turn) VALUES ($1, 'note_vectors', gen_random_uuid(), $2)"
    await fetch(database_url, statement, owner, queue.BACKGROUND_START)


async def get_owner(api: Api, person: Person) -> UUID:
    return UUID((await api.get(person, "/v1/users/me")).json()["id"])


async def test_model_changes_in_one_step_during_normal_work(api: Api, database_url: str, second_model: str) -> None:
    anna, bert = await api.register(), await api.register("bert")
    book = await upload(api, anna, write(SECTIONS), "locks.md")
    ferry, doomed = [await upload(api, anna, text, "a.txt") for text in (b"The ferry leaves at noon.", b"Doomed.")]
    note = await api.client.post("/v1/notes", headers=anna.headers, json={"title": "Eel", "body": "The eel is late."})
    await upload(api, bert, b"Lock 7 of Bert.", "b.txt")
    await api.work()
    accepted = (await api.get(anna, book)).json()
    of_book = {"document_ids": [accepted["id"]], "mode": "vector"}
    old = await ask(api, anna, **of_book)

    answers: list[Answer] = []

    async def keep_asking() -> None:
        while True:
            answers.append(await ask(api, anna, **of_book))
            for mode in ("hybrid", "keyword"):
                await ask(api, anna, mode=mode)

    lines: list[str] = []
    changing = asyncio.create_task(change(database_url, second_model, lines))
    async with run_beside(keep_asking()):
        await wait_for(lambda: api.runtime.encoders.is_next_ready)
        async with run_beside(keep_working(api.runtime)):
            await wait_for(lambda: lines)
            assert (await api.replace(anna, ferry, b"The ferry leaves at dusk.", "a.txt")).status_code == 202
            assert (await api.client.delete(doomed, headers=anna.headers)).status_code == 204
            path = f"/v1/notes/{note.json()['id']}"
            body = {"body": "The eel is early."}
            assert (await api.client.patch(path, headers=anna.headers, json=body)).status_code == 200
            await upload(api, anna, b"The heron sleeps.", "new.txt")
            await changing
            await asyncio.sleep(0)
            seen = len(answers)
            await wait_for(lambda: len(answers) > seen + 2)

    new = answers[-1]
    assert new != old
    step = answers.index(new)
    print(f"{len(answers)} answers, {step} of them of the old model; {lines}")
    assert step > 5
    assert answers == [old] * step + [new] * (len(answers) - step)
    assert (await api.get(anna, book)).json() == accepted, "the document itself has not changed"
    assert (await api.client.get("/health/ready")).status_code == 200, (
        "ready, although EMBEDDING_MODEL names the old model"
    )
    found = await fetch(database_url, "SELECT DISTINCT model, vector_dims(embedding) AS dimension FROM vectors")
    assert [tuple(row.values()) for row in found] == [(second_model, DIMENSION)]
    for query, text in (
        ("ferry", "The ferry leaves at dusk."),
        ("eel", "The eel is early."),
        ("heron", "The heron sleeps."),
    ):
        assert text in [passage for passage, _ in await ask(api, anna, query=query, top_k=50, mode="keyword")]
        assert (
            text in [passage for passage, _ in await ask(api, anna, query=query, top_k=50, mode="vector")]
            or SECTIONS > 40
        )
    assert [text for text, _ in await ask(api, bert, top_k=50)] == ["Lock 7 of Bert."]
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_old_model_finds_nothing_after_the_switch(api: Api, database_url: str) -> None:
    """Its vectors still exist, and this process has not noticed the switch."""
    person = await api.register()
    owner = await get_owner(api, person)
    await upload(api, person, b"The ferry leaves at noon.", "ferry.txt")
    await api.work()
    [vector] = await api.runtime.encoder.encode(["ferry"], Purpose.QUERY)
    found = []
    for _ in range(2):
        async with api.runtime.database.statement() as connection:
            for mode in SearchMode:
                query = PassageQuery(owner, mode, "ferry", vector, PACKAGED_MODEL, limit=5)
                found.append(len(await find_passages(connection, query, {"query": "ferry"})))
        await fetch(database_url, "UPDATE embedding_models SET name = 'another'")
    assert found == [1, 1, 1, 0, 0, 0]
    assert await fetch_value(database_url, "SELECT count(*) FROM audit_logs WHERE event_type = 'rag.query'") == 3


@pytest.mark.waits(model_check=0.05)
async def test_interrupted_change_resumes(api: Api, database_url: str, second_model: str) -> None:
    """The command is stopped, and a worker dies during a job."""
    person = await api.register()
    book = await upload(api, person, write(BACKGROUND_CHUNKS + 30), "locks.md")
    await api.work()
    await fetch(
        database_url,
        f"""INSERT INTO vectors (owner_id, chunk_id, model, document_id, embedding)
            SELECT owner_id, id, $1, document_id, '[1]' FROM chunks WHERE ordinal > {BACKGROUND_CHUNKS}""",
        second_model,
    )  # left over from an abandoned change
    lines: list[str] = []
    first = asyncio.create_task(change(database_url, second_model, lines))
    await wait_for(lambda: lines and api.runtime.encoders.is_next_ready)
    assert lines == [f"0 of {BACKGROUND_CHUNKS + 30} chunks"]
    lease = await claim(api.runtime)
    assert lease
    assert (lease.kind, lease.is_last) == (JobKind.DOCUMENT_VECTORS, False), "it returns to the queue"
    await ingest(api.runtime, lease, ignore_stage)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    made = {
        tuple(row)
        for row in await fetch(
            database_url, "SELECT chunk_id, embedding::text FROM vectors WHERE model = $1", second_model
        )
    }
    assert len(made) == BACKGROUND_CHUNKS

    assert await claim(api.runtime), "the job for the rest; this worker dies"
    assert await claim(api.runtime) is None
    clock = Clock()
    assert await observe(Sweeper(api.runtime.database, LEASE_SECONDS, clock), clock) == 1
    assert (await api.get(person, book)).json()["status"] == "ready"
    assert await ask(api, person)

    lines.clear()
    second = asyncio.create_task(change(database_url, second_model, lines))
    await wait_for(lambda: lines)
    assert lines == [f"{BACKGROUND_CHUNKS} of {BACKGROUND_CHUNKS + 30} chunks"]
    async with run_beside(keep_working(api.runtime)):
        await second
    database = Database(name_driver(database_url), pool_size=1, timeout_seconds=5, role=None)
    assert await switch_if_complete(database, second_model), "a second operator switches, too"
    await database.close()
    left = {tuple(row) for row in await fetch(database_url, "SELECT chunk_id, embedding::text FROM vectors")}
    assert made < left
    models = await fetch(database_url, "SELECT name, state FROM embedding_models")
    assert [tuple(row.values()) for row in models] == [(second_model, "active")]
    assert await asyncio.to_thread(find_violations, database_url) == {}
    await change(database_url, second_model, lines)
    assert lines[-1] == f"{second_model} is already the active model"


@pytest.mark.waits(model_check=0.05)
async def test_vectors_of_replaced_text_are_not_stored(api: Api, database_url: str, second_model: str) -> None:
    person = await api.register()
    owner = await get_owner(api, person)
    document_id = UUID((await upload(api, person, b"The old text.", "a.txt")).rsplit("/", 1)[1])
    subject = Subject(owner, SubjectKind.DOCUMENT, document_id)
    await api.work()
    changing = asyncio.create_task(change(database_url, second_model))
    await wait_for(lambda: api.runtime.encoders.is_next_ready)

    replaced, stored = asyncio.Event(), asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def replace() -> None:
        """Commit when the other transaction waits for this one, or is done without waiting."""
        async with api.runtime.database.transaction(Caller(owner)) as session:
            text, vectors = "The new text.", {PACKAGED_MODEL: [np.eye(1, 384)]}
            await chunks.replace(
                session, subject, [TextChunk(1, 0, text)], [text], vectors, index_all([text], "simple")
            )
            replaced.set()
            await wait_for(lambda: stored.is_set() or session.scalar(WAITING))

    async def meet(lease: Lease, stage: Stage, _progress: float) -> None:
        assert lease.kind == JobKind.DOCUMENT_VECTORS
        if stage == Stage.STORING:
            tasks.append(asyncio.create_task(replace()))
            await replaced.wait()
        if stage == Stage.STORED:
            stored.set()

    await ingest(api.runtime, await claim_next(api.runtime), meet)
    await tasks[0]
    assert await fetch_value(database_url, "SELECT coalesce(max(failures), 0) FROM jobs") == 0
    assert [row["text"] for row in await fetch(database_url, "SELECT text FROM chunks")] == ["The new text."]
    async with run_beside(keep_working(api.runtime)):
        await changing
    rows = await fetch(database_url, "SELECT text, vectors.model FROM chunks JOIN vectors ON chunk_id = id")
    assert [tuple(row.values()) for row in rows] == [("The new text.", second_model)]


@pytest.mark.waits(model_check=0.05)
async def test_worker_with_the_old_model_stores_nothing_after_the_switch(
    api: Api, database_url: str, second_model: str
) -> None:
    person = await api.register()
    location = await upload(api, person, b"The ferry leaves at noon.", "a.txt")
    lease = await claim(api.runtime)
    assert lease

    async def switch(_lease: Lease, stage: Stage, _progress: float) -> None:
        if stage == Stage.STORING:
            await change(database_url, second_model)

    await ingest(api.runtime, lease, switch)
    document = (await api.get(person, location)).json()
    assert (document["status"], document["attempts"]) == ("pending", 0)
    assert await fetch_value(database_url, "SELECT count(*) FROM chunks") == 0
    await fetch(database_url, "UPDATE jobs SET available_at = now()")
    await wait_for(lambda: api.runtime.encoder.model_name == second_model and api.runtime.encoders.is_ready)
    await api.work()
    assert await count(database_url, second_model) == 1
    assert await ask(api, person)


@pytest.mark.waits(model_check=0.05)
async def test_failed_embedding_ends_the_change_and_can_be_retried(
    api: Api, database_url: str, second_model: str
) -> None:
    person = await api.register()
    location = await upload(api, person, b"The ferry leaves at noon.", "a.txt")
    await api.work()
    changing = asyncio.create_task(change(database_url, second_model))
    await wait_for(lambda: api.runtime.encoders.is_next_ready)

    async def fail(_lease: Lease, stage: Stage, _progress: float) -> None:
        if stage == Stage.EMBEDDING:
            raise IngestionError(FailureCode.EMBEDDING_FAILED, "No.")

    for _ in range(queue.MAX_FAILURES):
        await wait_for(lambda: fetch(database_url, "SELECT FROM jobs"))
        await fetch(database_url, "UPDATE jobs SET available_at = now()")
        await ingest(api.runtime, await claim_next(api.runtime), fail)
    with pytest.raises(ModelChangeError, match="1 documents or notes cannot be embedded"):
        await changing
    assert await claim(api.runtime) is None

    working, api.runtime.encoders.next = api.runtime.encoders.next, BrokenEncoder(second_model, load_model)
    other = await upload(api, person, b"The heron sleeps.", "b.txt")
    await api.work()
    api.runtime.encoders.next = working
    for path in (location, other):
        document = (await api.get(person, path)).json()
        assert (document["status"], document["attempts"], document["error"]) == ("ready", 1, None)
    assert await ask(api, person)
    async with run_beside(keep_working(api.runtime)):
        await change(database_url, second_model)
    assert await count(database_url, second_model) == 2


@pytest.mark.waits(model_check=0.05)
async def test_jobs_of_users_go_first_and_background_jobs_do_not_count(
    api: Api, database_url: str, second_model: str
) -> None:
    person = await api.register()
    owner = await get_owner(api, person)
    old = await upload(api, person, b"The ferry leaves at noon.", "a.txt")
    await api.work()
    changing = asyncio.create_task(change(database_url, second_model))
    await wait_for(lambda: api.runtime.encoders.is_next_ready)
    async with api.runtime.database.transaction() as session:
        await wait_for(lambda: fetch(database_url, "SELECT FROM jobs WHERE kind = 'document_vectors'"))
        assert (await queue.count_background(session))[0] == 1
        assert (await queue.measure_waiting(session, owner)).count == 0
    new = await upload(api, person, b"The heron sleeps.", "b.txt")
    assert (await api.get(person, new)).json()["queue_position"] == 1
    leases = [
        await claim(api.runtime, only_short=True),
        await claim(api.runtime, only_short=True),
        await claim(api.runtime),
    ]
    assert [lease and lease.kind for lease in leases] == [JobKind.DOCUMENT, None, JobKind.DOCUMENT_VECTORS]
    assert await fetch_value(database_url, "SELECT turn FROM jobs WHERE kind = 'document'") < queue.BACKGROUND_START
    assert leases[0]
    await ingest(api.runtime, leases[0], ignore_stage)
    assert await count(database_url, second_model) == 1, "new documents get vectors of both models at once"
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)
    assert (await api.client.delete(old, headers=person.headers)).status_code == 204
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 0
    await queue_ghost(database_url, owner)
    assert await api.work() == 1
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 0


@pytest.mark.waits(model_check=0.05)
async def test_change_can_be_abandoned(api: Api, database_url: str, second_model: str) -> None:
    person = await api.register()
    await upload(api, person, b"The ferry leaves at noon.", "a.txt")
    await upload(api, person, b"The heron sleeps, and nobody embeds it again.", "b.txt")
    await api.work()
    changing = asyncio.create_task(change(database_url, second_model))
    await wait_for(lambda: api.runtime.encoders.is_next_ready)
    lease = await claim_next(api.runtime)
    database = Database(name_driver(database_url), pool_size=1, timeout_seconds=5, role=None)
    assert not await switch_if_complete(database, second_model), "some chunks have no new vectors yet"
    await database.close()
    await ingest(api.runtime, lease, ignore_stage)
    assert await count(database_url, second_model) == 1
    with pytest.raises(ModelChangeError, match="is not finished"):
        await change(database_url, "a third")
    lines: list[str] = []
    await change(database_url, PACKAGED_MODEL, lines)
    with pytest.raises(ModelChangeError, match="has abandoned the change"):
        await changing
    assert lines == [f"the change to {second_model} is abandoned", f"{PACKAGED_MODEL} is already the active model"]
    assert await count(database_url, second_model) == 0
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 0
    assert await ask(api, person)
    await wait_for(lambda: api.runtime.encoders.next is None)


@pytest.mark.usefixtures("api")
async def test_command_refuses(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelChangeError, match="cannot be loaded"):
        await change(database_url, str(tmp_path))
    assert await fetch_value(database_url, "SELECT count(*) FROM embedding_models") == 1
    with pytest.raises(ModelChangeError, match="DATABASE_OWNER_URL"):
        await change(database_url.replace("//postgres:", "//sluice_service:"), PACKAGED_MODEL)


async def test_no_switch_while_a_process_loads_the_model_or_stores_vectors(api: Api, runtime: Runtime) -> None:
    def close() -> asyncio.Task[bool]:
        async def try_it() -> bool:
            async with runtime.database.transaction() as session:
                return await embedding_models.lock_for_switch(session)

        return asyncio.create_task(try_it())

    async with api.runtime.database.transaction() as session:
        await embedding_models.delay_switch(session)
        assert not await close()
    assert await close()
    async with api.runtime.database.transaction() as session:
        await embedding_models.hold(session)
        closing = close()
        while not await session.scalar(WAITING):
            assert not closing.done()
    assert await closing


@pytest.mark.waits(model_check=0.05)
async def test_readiness_refuses_a_model_that_the_chunks_do_not_have(
    api: Api, settings: Settings, database_url: str, second_model: str, logged: Logged
) -> None:
    @asynccontextmanager
    async def start(model: str) -> AsyncIterator[Runtime]:
        changed = settings.model_copy(update={"embedding_model": model})
        async with open_runtime(changed, database_timeout_seconds=5, waits=Waits(model_check=0.05)) as runtime:
            await runtime.encoders.wait()
            yield runtime

    async def check(runtime: Runtime) -> tuple[str, str, bool]:
        checks = replace(await health.check(runtime), database="ok", migrations="ok")  # they time out on a busy machine
        return runtime.encoder.model_name, checks.embedding_model, checks.are_ready

    for model in (second_model, PACKAGED_MODEL):
        async with start(model) as runtime:
            assert await check(runtime) == (model, "ok", True), "without chunks, the setting decides"
        await wait_for(lambda name=model: api.runtime.encoder.model_name == name and api.runtime.encoders.is_ready)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    person = await api.register()
    await upload(api, person, b"The ferry leaves at noon.", "a.txt")
    await api.work()
    async with start(second_model) as runtime:
        assert await check(runtime) == (PACKAGED_MODEL, "mismatch", False)
        await asyncio.sleep(0.2)  # the database is read several times
        told = [event for event in logged if event["event"] == "model.mismatched"]
        assert [(event["configured"], event["active"]) for event in told] == [(second_model, PACKAGED_MODEL)]
        assert await search(runtime, Caller(await get_owner(api, person)), "ferry", top_k=1)
        await fetch(database_url, "INSERT INTO embedding_models VALUES ($1, 'next')", second_model)
        await wait_for(lambda: runtime.encoders.is_next_ready)
        assert await check(runtime) == (PACKAGED_MODEL, "ok", True)


async def test_readiness_tells_of_a_model_that_cannot_be_loaded(settings: Settings, tmp_path: Path) -> None:
    missing = settings.model_copy(update={"embedding_model": str(tmp_path / "missing")})
    async with open_runtime(missing, database_timeout_seconds=5) as runtime:
        await wait_for(lambda: runtime.encoders.is_unavailable)
        checks = await health.check(runtime)
        assert (checks.embedding_model, checks.are_ready) == ("unavailable", False)


class TestEmbeddingServer:
    @pytest.fixture
    def server(self) -> Iterator[LlmServer]:
        with run_llm_server() as server:
            server.behave = embed
            yield server

    @pytest.fixture
    def settings(self, settings: Settings, server: LlmServer) -> Settings:
        return settings.model_copy(update={"embedding_base_url": HttpUrl(server.url)})

    async def test_change_from_the_packaged_model_to_a_server(
        self, api: Api, settings: Settings, server: LlmServer, database_url: str
    ) -> None:
        person = await api.register()
        await upload(api, person, write(3), "locks.md")
        await api.work()
        before, lines = await ask(api, person, mode="vector"), list[str]()
        assert not server.calls, "the packaged model runs in the process"
        async with run_beside(keep_working(api.runtime)):
            await reembed.reembed(settings, "a-model", lines.append, WAITS)
        await wait_for(lambda: api.runtime.encoder.model_name == "a-model")
        after = await ask(api, person, mode="vector")
        assert [QUESTION["query"]] in [call.body["input"] for call in server.calls]
        assert sorted(text for text, _ in after) == sorted(text for text, _ in before)
        assert after != before
        assert await count(database_url, "a-model") == 3
