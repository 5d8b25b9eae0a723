"""Back-pressure: the number and size of a user's unfinished documents are limited. Other users are not affected."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from pipeline.db import queue
from pipeline.db.queue import Waiting
from pipeline.errors import FailureCode, IngestionError
from pipeline.settings import Settings, SettingsError, load_settings
from pipeline.types import Caller
from tests.databases import clone_database, downgrade, fetch_value, migrate, run_sql
from tests.integration.conftest import Api, Person, claim

pytestmark = pytest.mark.anyio

MAX_PENDING = 3
MAX_BYTES = 1000
STORED = """SELECT (SELECT count(*) FROM documents) + (SELECT count(*) FROM document_slices)
    + (SELECT count(*) FROM notes) + (SELECT count(*) FROM jobs) + (SELECT count(*) FROM audit_logs)"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_pending_per_user": MAX_PENDING, "max_bytes_per_user": MAX_BYTES})


async def write_note(api: Api, person: Person, body: str = "A note.") -> httpx2.Response:
    return await api.client.post("/v1/notes", headers=person.headers, json={"title": "Title", "body": body})


async def upload_bytes(api: Api, person: Person, size: int, letter: str = "a") -> httpx2.Response:
    return await api.upload(person, letter.encode() * size, f"{letter}.txt")


async def measure(api: Api, person: Person) -> Waiting:
    owner_id = (await api.get(person, "/v1/users/me")).json()["id"]
    async with api.runtime.database.transaction() as session:
        return await queue.measure_waiting(session, owner_id)


def assert_full(response: httpx2.Response, *words: str) -> None:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (429, 429, "queue_full"), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "30"
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "error"}
    assert [word for word in (*words, "Nothing was stored. Send it again when") if word not in problem["detail"]] == []


async def fill(api: Api, person: Person) -> None:
    assert (await upload_bytes(api, person, 10, "a")).status_code == 202
    assert (await write_note(api, person)).status_code == 201
    assert (await upload_bytes(api, person, 10, "b")).status_code == 202


async def test_number_of_waiting_documents_and_notes_is_limited(api: Api, database_url: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    await fill(api, anna)
    stored = await fetch_value(database_url, STORED)
    assert_full(await upload_bytes(api, anna, 10, "c"), "You have 3 unfinished documents and notes")
    assert_full(await write_note(api, anna), "You have 3 unfinished documents and notes")
    assert await fetch_value(database_url, STORED) == stored
    await fill(api, bert)


async def test_jobs_in_progress_count(api: Api) -> None:
    person = await api.register()
    await fill(api, person)
    for _ in range(MAX_PENDING):
        assert await claim(api.runtime)
        assert_full(await write_note(api, person))
        assert_full(await upload_bytes(api, person, 10, "c"))


async def test_finished_jobs_make_room(api: Api) -> None:
    person = await api.register()
    await fill(api, person)
    assert await api.work() == MAX_PENDING
    assert await measure(api, person) == Waiting(0, 0)
    assert (await write_note(api, person)).status_code == 201
    assert (await upload_bytes(api, person, 10, "c")).status_code == 202


async def test_deleting_makes_room(api: Api) -> None:
    person = await api.register()
    location = (await upload_bytes(api, person, MAX_BYTES)).headers["location"]
    assert_full(await upload_bytes(api, person, 1, "b"))
    await api.client.delete(location, headers=person.headers)
    assert (await upload_bytes(api, person, MAX_BYTES, "b")).status_code == 202


async def test_waiting_bytes_are_limited(api: Api, database_url: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    assert (await upload_bytes(api, anna, MAX_BYTES - 100)).status_code == 202
    stored = await fetch_value(database_url, STORED)
    assert_full(await upload_bytes(api, anna, 101, "b"), "have 900 bytes", "limit of 1000 bytes")
    assert await fetch_value(database_url, STORED) == stored
    assert (await upload_bytes(api, bert, MAX_BYTES)).status_code == 202
    assert (await upload_bytes(api, anna, 100, "c")).status_code == 202
    assert await measure(api, anna) == Waiting(2, MAX_BYTES)
    assert await api.work() == 3
    assert (await upload_bytes(api, anna, 101, "b")).status_code == 202


async def test_notes_have_no_bytes(api: Api) -> None:
    person = await api.register()
    await upload_bytes(api, person, MAX_BYTES)
    assert (await write_note(api, person, "x" * 500)).status_code == 201
    assert await measure(api, person) == Waiting(2, MAX_BYTES)


async def test_duplicate_of_a_waiting_document_adds_nothing(api: Api) -> None:
    person = await api.register()
    await upload_bytes(api, person, 600)
    assert (await upload_bytes(api, person, 600)).status_code == 200
    assert await measure(api, person) == Waiting(1, 600)


async def test_retried_document_counts_its_bytes_again(api: Api) -> None:
    person = await api.register()
    location = (await upload_bytes(api, person, 600)).headers["location"]
    lease = await claim(api.runtime)
    assert lease
    async with api.runtime.database.transaction(Caller(lease.subject.owner_id)) as session:
        await queue.fail(session, lease, IngestionError(FailureCode.MALFORMED, "Message."))
    assert await measure(api, person) == Waiting(0, 0)
    # Retries and edits are not limited, because their subjects were accepted before.
    assert (await upload_bytes(api, person, MAX_BYTES, "b")).status_code == 202
    assert (await api.client.post(f"{location}/retry", headers=person.headers)).status_code == 202
    assert await measure(api, person) == Waiting(2, MAX_BYTES + 600)
    assert_full(await upload_bytes(api, person, 1, "c"))


async def test_new_version_counts_instead_of_the_old_one(api: Api, database_url: str) -> None:
    person = await api.register()
    ready = (await upload_bytes(api, person, 10, "a")).headers["location"]
    await api.work()
    waiting = (await upload_bytes(api, person, MAX_BYTES - 100, "b")).headers["location"]
    for _ in range(MAX_PENDING - 1):
        assert (await write_note(api, person)).status_code == 201
    stored = await fetch_value(database_url, STORED)
    assert_full(await api.replace(person, ready, b"c"), "You have 3 unfinished documents and notes")
    unread = await api.client.put(f"{ready}/content", headers=person.headers, content=b"no multipart")
    assert_full(unread, "You have 3 unfinished documents and notes")
    assert await fetch_value(database_url, STORED) == stored
    assert (await api.replace(person, waiting, b"d" * MAX_BYTES)).status_code == 202
    assert await measure(api, person) == Waiting(MAX_PENDING, MAX_BYTES)
    assert_full(await api.replace(person, waiting, b"e" * (MAX_BYTES + 1)), "have 0 bytes", "limit of 1000 bytes")


async def test_edits_of_notes_are_not_limited(api: Api) -> None:
    person = await api.register()
    note = (await write_note(api, person)).json()["id"]
    for letter in "ab":
        await upload_bytes(api, person, 10, letter)
    assert_full(await write_note(api, person))
    response = await api.client.patch(f"/v1/notes/{note}", headers=person.headers, json={"body": "Another."})
    assert response.status_code == 200
    assert await measure(api, person) == Waiting(MAX_PENDING, 20)


@pytest.mark.parametrize(("expect", "pieces_sent"), [({}, 20), ({"Expect": "100-continue"}, 0)])
async def test_refusal_with_and_without_expect_continue(
    api: Api, database_url: str, expect: dict[str, str], pieces_sent: int
) -> None:
    person = await api.register()
    await fill(api, person)
    stored = await fetch_value(database_url, STORED)
    sent: list[bytes] = []

    async def send() -> AsyncIterator[bytes]:
        for _ in range(20):
            # Not multipart: parsing it would give 422.
            sent.append(b"x" * 1000)
            yield sent[-1]

    headers = {**person.headers, **expect, "Content-Type": "multipart/form-data; boundary=x"}
    assert_full(await api.client.post("/v1/documents", headers=headers, content=send()), "You have 3 unfinished")
    assert len(sent) == pieces_sent
    assert await fetch_value(database_url, STORED) == stored


async def test_refusals_are_documented(api: Api) -> None:
    paths = (await api.client.get("/schema/openapi.json")).json()["paths"]
    assert [path for path in ("/v1/documents", "/v1/notes") if "429" not in paths[path]["post"]["responses"]] == []


@pytest.mark.parametrize("limit", ["0", "-1", "1023"])
def test_byte_limit_below_the_upload_limit_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "1024")
    monkeypatch.setenv("MAX_BYTES_PER_USER", limit)
    with pytest.raises(SettingsError, match=r"^MAX_BYTES_PER_USER "):
        load_settings()


def test_migration_gives_waiting_documents_their_size(postgres_url: str) -> None:
    url = clone_database(postgres_url, "job_sizes", template="template1")
    migrate(url, "0002")
    run_sql(
        url,
        "INSERT INTO users (id, email, password_hash) SELECT md5('u')::uuid, 'a@b', ''",
        """INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256)
           SELECT md5('u')::uuid, md5('d')::uuid, 'a.txt', 'text/plain', 5000000000, ''""",
        "INSERT INTO jobs (owner_id, kind, subject_id, turn) SELECT md5('u')::uuid, 'document', md5('d')::uuid, 0",
        "INSERT INTO jobs (owner_id, kind, subject_id, turn) SELECT md5('u')::uuid, 'note', md5('n')::uuid, 1",
    )
    migrate(url, "head")
    rows = run_sql(url, "SELECT size_bytes FROM jobs ORDER BY turn")
    assert [row["size_bytes"] for row in rows] == [5_000_000_000, 0]
    downgrade(url, "0002")
    assert run_sql(url, "SELECT count(*) FROM jobs")[0][0] == 2
