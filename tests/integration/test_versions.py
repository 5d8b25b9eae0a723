"""New versions: unchanged text is not embedded again, and searches find exactly one version at any time."""

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fpdf import FPDF
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import models, queue
from pipeline.db.session import Database
from pipeline.errors import DatabaseUnavailable, FailureCode, IngestionError
from pipeline.ingest.executor import ingest
from pipeline.runtime import Runtime
from pipeline.settings import Settings
from pipeline.types import Caller, Lease, Stage
from pipeline.use_cases import documents
from tests.databases import fetch, fetch_value, find_violations
from tests.integration.conftest import Api, Person, claim

pytestmark = pytest.mark.anyio

PAGES = 200
EDITED_PAGE = 117
MIB = 1024 * 1024
MARK = f"('[1{',0' * 383}]')::halfvec"
"""A vector that no text has. If a chunk has it after a change, the vector was reused."""
COUNT_MARKED = f"SELECT count(DISTINCT chunk_id) FROM vectors WHERE embedding = {MARK}"
MARK_ALL = f"UPDATE vectors SET embedding = {MARK}"


def make_pdf(sentences: list[str]) -> bytes:
    """Return a PDF with one page for each sentence."""
    pdf = FPDF()
    pdf.set_font("Helvetica")
    for sentence in sentences:
        pdf.add_page()
        pdf.cell(text=sentence)
    return bytes(pdf.output())


async def upload(api: Api, person: Person, content: bytes, name: str = "note.txt") -> str:
    """Upload a document that must be accepted. Return its location."""
    response = await api.upload(person, content, name)
    assert response.status_code == 202, response.text
    return response.headers["location"]


async def show(api: Api, person: Person, location: str) -> dict[str, Any]:
    document: dict[str, Any] = (await api.get(person, location)).json()
    return document


async def read_text(api: Api, person: Person, location: str) -> str:
    text: str = (await api.get(person, f"{location}/text")).json()["text"]
    return text


async def search(api: Api, person: Person, query: str, top_k: int = 8) -> list[str]:
    body = {"query": query, "top_k": top_k}
    response = await api.client.post("/v1/search", headers=person.headers, json=body)
    return [passage["text"] for passage in response.json()["passages"]]


async def assert_sound(database_url: str) -> None:
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_only_the_edited_page_is_embedded_again(api: Api, database_url: str) -> None:
    person = await api.register()
    sentences = [f"In the year {1800 + page} nothing happened." for page in range(1, PAGES + 1)]
    old, new = "The gauge at the footbridge reads three metres.", "The gauge at the footbridge reads nine metres."
    sentences[EDITED_PAGE - 1] = old
    location = await upload(api, person, make_pdf(sentences), "chronicle.pdf")
    await api.work()
    assert (await show(api, person, location))["chunks_reused"] == 0
    await fetch(database_url, f"{MARK_ALL} FROM chunks WHERE id = chunk_id AND page <> {EDITED_PAGE}")
    sentences[EDITED_PAGE - 1] = new
    response = await api.replace(person, location, make_pdf(sentences), "chronicle, 2nd edition.pdf")
    assert (response.status_code, response.headers["location"]) == (202, location)
    assert (response.headers["retry-after"], response.json()["status"]) == ("1", "pending")
    seen: dict[Stage, set[str]] = {}

    async def look(_lease: Lease, stage: Stage, _progress: float) -> None:
        if stage not in seen:
            texts = [text for text in await search(api, person, "What does the gauge read?", 3) if "gauge" in text]
            seen[stage] = {*texts, (await api.get(person, f"{location}/text?start=0")).json()["text"].count(old) * old}

    assert await api.work(look) == 1
    assert seen == {stage: {old} for stage in Stage if stage != Stage.STORED} | {Stage.STORED: {new, ""}}
    document = await show(api, person, location)
    assert (document["status"], document["filename"]) == ("ready", "chronicle, 2nd edition.pdf")
    assert (document["pages"], document["chunks"], document["chunks_reused"]) == (PAGES, PAGES, PAGES - 1)
    embedded = await fetch(
        database_url, f"SELECT page FROM chunks JOIN vectors ON chunk_id = id WHERE vectors.embedding <> {MARK}"
    )
    assert [row["page"] for row in embedded] == [EDITED_PAGE]
    await assert_sound(database_url)


async def test_only_the_same_text_by_the_same_model_keeps_its_vector(api: Api, database_url: str) -> None:
    """Uses a note, because its title is embedded with its text."""
    person = await api.register()
    paragraphs = [f"{name} was here. " * 80 for name in ("Anna", "Bert", "Carl", "Dora")]
    body, edited = "\n\n".join(paragraphs), "\n\n".join([*paragraphs[:3], "Emil was here. " * 80])
    note = {"title": "Guests", "body": body}
    response = await api.client.post("/v1/notes", headers=person.headers, json=note)
    path = f"/v1/notes/{response.json()['id']}"
    await api.work()
    assert await fetch_value(database_url, "SELECT count(*) FROM chunks") == 4

    async def edit(change: dict[str, str], *changes_of_rows: str) -> int:
        """Edit the note. Return how many chunks keep their vectors."""
        for statement in (MARK_ALL, *changes_of_rows):
            await fetch(database_url, statement)
        assert (await api.client.patch(path, headers=person.headers, json=change)).status_code == 200
        assert await api.work() == 1
        return int(await fetch_value(database_url, COUNT_MARKED))

    assert await edit({"body": edited}) == 3
    assert await edit({"body": edited}) == 4
    assert await edit({"title": "Visitors"}) == 0
    assert await edit({"body": edited}, "UPDATE vectors SET model = 'another'") == 0
    assert await edit({"body": edited}, 'DELETE FROM vectors WHERE "window" > 0') == 0, "made before there were windows"
    assert await edit({"body": edited}, "UPDATE chunks SET embedded_sha256 = NULL") == 0
    await assert_sound(database_url)


async def test_new_version_wins_at_every_stage_of_the_old_one(api: Api, database_url: str) -> None:
    person = await api.register()
    for stage in Stage:
        location = await upload(api, person, f"The old words of {stage}.".encode())
        replacing: list[asyncio.Task[httpx2.Response]] = []

        async def replace(_lease: Lease, reached: Stage, _progress: float) -> None:
            if reached == stage and not replacing:  # noqa: B023 - called within this iteration
                content = f"The new words of {stage}.".encode()  # noqa: B023 - called within this iteration
                replacing.append(asyncio.create_task(api.replace(person, location, content)))  # noqa: B023 - called within this iteration
                # At this stage, the replacement waits for the old version to be finished.
                await asyncio.wait(replacing, timeout=0.1 if stage == Stage.FINISHING else None)  # noqa: B023 - called within this iteration

        await api.work(replace)
        assert (await replacing[0]).status_code == 202, stage
        await api.work()
        assert (await show(api, person, location))["status"] == "ready"
        assert await read_text(api, person, location) == f"The new words of {stage}."
    assert sorted(await search(api, person, "words", 50)) == sorted(f"The new words of {stage}." for stage in Stage)
    await assert_sound(database_url)


async def test_same_bytes_change_nothing_and_those_of_another_document_are_refused(api: Api, database_url: str) -> None:
    person = await api.register()
    first, second = await upload(api, person, b"the first"), await upload(api, person, b"the second")
    for state in ("pending", "ready"):
        before = [await show(api, person, location) for location in (first, second)]
        same = await api.replace(person, first, b"the first", "another name.txt")
        assert (same.status_code, same.headers["deduplicated"], same.headers["location"]) == (200, "true", first)
        assert same.json() == before[0]
        other = await api.replace(person, first, b"the second")
        problem = other.json()
        assert (other.status_code, problem["code"]) == (409, "duplicate_content"), state
        assert second.rsplit("/", 1)[1] in problem["detail"]
        assert [await show(api, person, location) for location in (first, second)] == before
        assert await api.work() == (2 if state == "pending" else 0)
    uploads = await fetch_value(database_url, "SELECT count(*) FROM audit_logs WHERE event_type = 'document.upload'")
    assert uploads == 2
    await assert_sound(database_url)


async def test_refused_versions_change_nothing(api: Api, database_url: str) -> None:
    person = await api.register()
    location = await upload(api, person, b"the first")
    before = await show(api, person, location)
    large = b"x" * (api.runtime.settings.max_upload_bytes + 1)
    for content, name, status in [
        (b"", "a.txt", 422),
        (b"text", "..", 422),
        (b"text", "a.pdf", 415),
        (large, "a.txt", 413),
    ]:
        response = await api.replace(person, location, content, name)
        assert response.status_code == status, (name, response.text)
    assert await show(api, person, location) == before
    assert await fetch_value(database_url, "SELECT count(*) FROM audit_logs WHERE event_type LIKE 'document%'") == 1


async def test_old_passages_stay_if_the_new_version_fails(api: Api, database_url: str) -> None:
    person = await api.register()
    location = await upload(api, person, b"The ferry leaves at noon.")
    await api.work()
    broken = b"%PDF-1.7\nrubbish"
    ways: list[Callable[[], Awaitable[httpx2.Response]]] = [
        lambda: api.replace(person, location, broken, "ferry.pdf"),
        lambda: api.replace(person, location, broken, "ferry again.pdf"),
        lambda: api.client.post(f"{location}/retry", headers=person.headers),
    ]
    for ask_again in ways:
        response = await ask_again()
        assert (response.status_code, response.json()["status"], response.json()["error"]) == (202, "pending", None)
        await api.work()
        document = await show(api, person, location)
        assert (document["status"], document["error"]["code"]) == ("failed", "malformed")
        assert (document["media_type"], document["chunks"], document["pages"]) == ("application/pdf", 1, 1)
        assert await search(api, person, "ferry") == ["The ferry leaves at noon."]
        assert await read_text(api, person, location) == "The ferry leaves at noon."
        assert (await api.get(person, f"{location}/content")).content == broken
        await assert_sound(database_url)
    assert (await api.replace(person, location, b"The ferry leaves at dusk.")).status_code == 202
    await api.work()
    assert await search(api, person, "ferry") == ["The ferry leaves at dusk."]
    audited = await fetch(
        database_url,
        "SELECT details ->> 'filename' AS name, details ->> 'replaced_sha256' AS old FROM audit_logs"
        " WHERE event_type = 'document.upload' ORDER BY id",
    )
    old = [hashlib.sha256(content).hexdigest() for content in (b"The ferry leaves at noon.", broken, broken)]
    assert [row["name"] for row in audited] == ["note.txt", "ferry.pdf", "ferry again.pdf", "note.txt"]
    assert [row["old"] for row in audited] == [None, *old]
    await assert_sound(database_url)


async def test_edited_note_that_fails_is_not_found(api: Api, database_url: str) -> None:
    """Its old passages would not match its new body."""
    person = await api.register()
    await upload(api, person, b"The ferry leaves at noon.")
    note = {"title": "Ferry", "body": "The ferry is late."}
    path = f"/v1/notes/{(await api.client.post('/v1/notes', headers=person.headers, json=note)).json()['id']}"
    await api.work()
    assert len(await search(api, person, "ferry")) == 2
    await api.client.patch(path, headers=person.headers, json={"body": "The ferry has sunk."})
    lease = await claim(api.runtime)
    assert lease
    async with api.runtime.database.transaction(Caller(lease.subject.owner_id)) as session:
        await queue.fail(session, lease, IngestionError(FailureCode.EMBEDDING_FAILED, "Message."))
    assert await search(api, person, "ferry") == ["The ferry leaves at noon."]
    assert await fetch_value(database_url, "SELECT chunks FROM notes") == 0
    await assert_sound(database_url)


class InterruptedDatabase(Database):
    """Calls `interrupt` before transaction number `before`, counted from 1."""

    def __init__(self, settings: Settings, before: int, interrupt: Callable[[], Awaitable[None]]) -> None:
        super().__init__(settings.sqlalchemy_url, pool_size=1, timeout_seconds=10)
        self.transactions = 0
        self._before = before
        self._interrupt = interrupt

    @asynccontextmanager
    async def transaction(self, caller: Caller | None = None) -> AsyncIterator[AsyncSession]:
        self.transactions += 1
        if self.transactions == self._before:
            await self._interrupt()
        async with super().transaction(caller) as session:
            yield session


async def test_readers_never_get_slices_of_two_versions(api: Api, settings: Settings) -> None:
    person = await api.register()
    owner_id = UUID((await api.get(person, "/v1/users/me")).json()["id"])
    location = await upload(api, person, b"a" * (2 * MIB))
    document = await documents.get(api.runtime, Caller(owner_id), UUID(location.rsplit("/", 1)[1]))
    download = documents.read_content(api.runtime, Caller(owner_id), document)
    first = await anext(download)
    assert (await api.replace(person, location, b"b" * (2 * MIB))).status_code == 202
    assert (first, [data async for data in download]) == (b"a" * MIB, [])

    async def replace_it() -> None:
        assert (await api.replace(person, location, b"The last version.")).status_code == 202

    reached: list[Stage] = []

    async def note(_lease: Lease, stage: Stage, _progress: float) -> None:
        reached.append(stage)

    lease = await claim(api.runtime)
    assert lease
    database = InterruptedDatabase(settings, before=3, interrupt=replace_it)
    await ingest(dataclasses.replace(api.runtime, database=database), lease, note)
    await database.close()
    assert database.transactions == 3, "reads the document, its first slice, and the second slice, which is gone"
    assert reached == [Stage.CLAIMED]
    assert await api.work() == 1
    assert await read_text(api, person, location) == "The last version."


async def count_statuses(*requests: Awaitable[httpx2.Response]) -> list[int]:
    return sorted(response.status_code for response in await asyncio.gather(*requests))


async def test_concurrent_changes_happen_one_after_the_other(api: Api, database_url: str) -> None:
    person = await api.register()
    location = await upload(api, person, b"the first version")
    await api.work()
    for _ in range(3):
        versions = [f"version {number} ".encode() * 100_000 for number in range(4)]
        assert await count_statuses(*(api.replace(person, location, content) for content in versions)) == [202] * 4
        assert await count_statuses(*(api.replace(person, location, b"the same") for _ in range(4))) == [200] * 3 + [
            202
        ]
        assert await api.work() == 1
        await assert_sound(database_url)
    note = await api.client.post("/v1/notes", headers=person.headers, json={"title": "Title", "body": "Body."})
    path = f"/v1/notes/{note.json()['id']}"
    await api.work()
    bodies = [{"body": f"Body {number}."} for number in range(4)]
    assert (
        await count_statuses(*(api.client.patch(path, headers=person.headers, json=body) for body in bodies))
        == [200] * 4
    )
    assert await api.work() == 1
    for number in range(10):
        victim = await upload(api, person, b"a victim")
        statuses = await count_statuses(
            api.replace(person, victim, f"replaced {number}".encode()),
            api.client.delete(victim, headers=person.headers),
        )
        assert statuses in ([202, 204], [204, 404])
        assert await api.work() == 0
    assert await fetch_value(database_url, "SELECT count(*) FROM documents") == 1
    await assert_sound(database_url)


async def test_deadlock_is_a_temporary_outage(api: Api, runtime: Runtime) -> None:
    """Two transactions wait for each other. One of them gets a temporary error."""
    person = await api.register()
    owner_id = UUID((await api.get(person, "/v1/users/me")).json()["id"])
    ids = [UUID((await upload(api, person, content)).rsplit("/", 1)[1]) for content in (b"one", b"two")]
    both = asyncio.Barrier(2)

    async def change(first: UUID, second: UUID) -> None:
        async with runtime.database.transaction(Caller(owner_id)) as session:
            for document_id in (first, second):
                await session.execute(
                    update(models.Document).where(models.Document.id == document_id).values(progress=0.5)
                )
                if document_id == first:
                    await both.wait()

    results = await asyncio.gather(change(*ids), change(*ids[::-1]), return_exceptions=True)
    assert {type(result) for result in results} == {type(None), DatabaseUnavailable}
