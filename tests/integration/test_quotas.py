"""Quotas: an account stores at most so many bytes and so many documents, however many requests arrive at once."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx2
import pytest

from pipeline.db import access, queue
from pipeline.db.storage import Stored
from pipeline.errors import FailureCode, IngestionError
from pipeline.runtime import Runtime
from pipeline.settings import Settings
from pipeline.types import Caller, new_id
from pipeline.use_cases import notes, quotas
from pipeline.use_cases.quotas import MAX_ENVELOPE_BYTES
from tests.databases import clone_database, downgrade, fetch_value, migrate, run_sql
from tests.integration.conftest import Api, Person, claim, wait_for

pytestmark = pytest.mark.anyio

MAX_BYTES = 100_000
MAX_DOCUMENTS = 4
NO_QUOTA = {"max_stored_bytes_per_user": 0, "max_documents_per_user": 0}
STORED = """SELECT (SELECT count(*) FROM documents) + (SELECT count(*) FROM document_slices)
    + (SELECT count(*) FROM notes) + (SELECT count(*) FROM jobs) + (SELECT count(*) FROM audit_logs)"""


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Settings with quotas. `@pytest.mark.parametrize("settings", [{…}], indirect=True)` changes them for one test."""
    quotas = {"max_stored_bytes_per_user": MAX_BYTES, "max_documents_per_user": MAX_DOCUMENTS}
    return settings.model_copy(update=getattr(request, "param", quotas))


async def upload(api: Api, person: Person, size: int, letter: str = "a") -> httpx2.Response:
    return await api.upload(person, letter.encode() * size, f"{letter}.txt")


async def replace(api: Api, person: Person, location: str, size: int, letter: str = "z") -> httpx2.Response:
    return await api.replace(person, location, letter.encode() * size)


async def write_note(api: Api, person: Person, body: str = "A note.") -> httpx2.Response:
    return await api.client.post("/v1/notes", headers=person.headers, json={"title": "Title", "body": body})


async def find_usage(api: Api, person: Person) -> tuple[int, int]:
    """Return the number of stored documents and bytes."""
    usage = (await api.get(person, "/v1/users/me")).json()["usage"]
    return usage["documents"]["used"], usage["stored_bytes"]["used"]


def assert_refused(response: httpx2.Response, *words: str) -> None:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (403, "quota_exceeded"), response.text
    assert "retry-after" not in response.headers
    assert [word for word in (*words, "Nothing was stored. Delete") if word not in problem["detail"]] == []


async def test_number_of_documents_and_notes_is_limited(api: Api, database_url: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    for letter in "abc":
        assert (await upload(api, anna, 1, letter)).status_code == 202
    assert (await write_note(api, anna)).status_code == 201
    stored = await fetch_value(database_url, STORED)
    assert_refused(await upload(api, anna, 1, "d"), "You have 4 documents and notes", "quota is 4")
    assert_refused(await write_note(api, anna), "You have 4 documents and notes")
    assert await fetch_value(database_url, STORED) == stored
    assert (await upload(api, bert, 1, "d")).status_code == 202


async def test_stored_bytes_are_limited(api: Api, database_url: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    assert (await upload(api, anna, MAX_BYTES - 100)).status_code == 202
    stored = await fetch_value(database_url, STORED)
    assert_refused(await upload(api, anna, 101, "b"), "You store 99900 bytes", "quota of 100000 bytes")
    assert_refused(await write_note(api, anna, "ü" * 51), "You store 99900 bytes")
    assert await fetch_value(database_url, STORED) == stored
    assert (await upload(api, bert, MAX_BYTES)).status_code == 202
    assert (await upload(api, anna, 50, "b")).status_code == 202
    assert (await write_note(api, anna, "ü" * 25)).status_code == 201
    assert await find_usage(api, anna) == (3, MAX_BYTES)


async def test_failed_documents_count_until_they_are_deleted(api: Api) -> None:
    person = await api.register()
    location = (await upload(api, person, MAX_BYTES)).headers["location"]
    lease = await claim(api.runtime)
    assert lease
    async with api.runtime.database.transaction(Caller(lease.subject.owner_id)) as session:
        await queue.fail(session, lease, IngestionError(FailureCode.MALFORMED, "Message."))
    assert_refused(await upload(api, person, 1, "b"))
    assert (await api.client.post(f"{location}/retry", headers=person.headers)).status_code == 202
    assert (await api.client.delete(location, headers=person.headers)).status_code == 204
    assert await find_usage(api, person) == (0, 0)
    assert (await upload(api, person, MAX_BYTES, "b")).status_code == 202


async def test_duplicate_costs_nothing(api: Api) -> None:
    person = await api.register()
    for letter in "abc":
        await upload(api, person, 1, letter)
    location = (await upload(api, person, MAX_BYTES - 3, "d")).headers["location"]
    for size, letter in ((1, "a"), (MAX_BYTES - 3, "d")):
        assert (await upload(api, person, size, letter)).status_code == 200
    assert (await replace(api, person, location, MAX_BYTES - 3, "d")).status_code == 200
    assert (await replace(api, person, location, 1, "a")).json()["code"] == "duplicate_content"
    assert await find_usage(api, person) == (4, MAX_BYTES)


async def test_new_version_counts_instead_of_the_old_one(api: Api) -> None:
    person = await api.register()
    location = (await upload(api, person, MAX_BYTES - 10)).headers["location"]
    for _ in range(MAX_DOCUMENTS - 1):
        assert (await write_note(api, person, "x")).status_code == 201
    assert (await replace(api, person, location, MAX_BYTES - 3, "b")).status_code == 202
    assert_refused(await replace(api, person, location, MAX_BYTES - 2, "c"), "You store 100000 bytes")
    assert await find_usage(api, person) == (MAX_DOCUMENTS, MAX_BYTES)
    assert (await api.get(person, f"{location}/content")).text == "b" * (MAX_BYTES - 3)


async def test_edit_of_a_note_counts_its_growth(api: Api) -> None:
    person = await api.register()
    await upload(api, person, MAX_BYTES - 10)
    path = f"/v1/notes/{(await write_note(api, person, 'ü' * 5)).json()['id']}"
    refused = await api.client.patch(path, headers=person.headers, json={"body": "ü" * 5 + "x", "title": "Another"})
    assert_refused(refused, "You store 100000 bytes")
    assert (await api.get(person, path)).json()["title"] == "Title"
    for change in ({"title": "A longer title"}, {"body": "x" * 10}, {"body": "x"}):
        assert (await api.client.patch(path, headers=person.headers, json=change)).status_code == 200
    assert await find_usage(api, person) == (2, MAX_BYTES - 9)


async def find_owner(api: Api, person: Person) -> UUID:
    return UUID((await api.get(person, "/v1/users/me")).json()["id"])


def lift_quotas(runtime: Runtime) -> Runtime:
    return dataclasses.replace(runtime, settings=runtime.settings.model_copy(update=NO_QUOTA))


async def test_account_over_a_lowered_quota_may_only_shrink(api: Api) -> None:
    person = await api.register()
    earlier, owner_id = lift_quotas(api.runtime), await find_owner(api, person)
    note = await notes.create(earlier, Caller(owner_id), "Title", "x" * (MAX_BYTES + 10))
    for number in range(MAX_DOCUMENTS):
        await notes.create(earlier, Caller(owner_id), f"Title {number}", "x")
    assert_refused(await write_note(api, person))
    path = f"/v1/notes/{note.id}"
    longer, shorter = ({"body": "x" * (MAX_BYTES + 10 + change)} for change in (1, -1))
    assert_refused(await api.client.patch(path, headers=person.headers, json=longer))
    assert (await api.client.patch(path, headers=person.headers, json=shorter)).status_code == 200


async def test_account_over_the_quota_of_documents_may_change_them(api: Api) -> None:
    person = await api.register()
    earlier, owner_id = lift_quotas(api.runtime), await find_owner(api, person)
    for number in range(MAX_DOCUMENTS + 1):
        note = await notes.create(earlier, Caller(owner_id), f"Title {number}", "x")
    longer = await api.client.patch(f"/v1/notes/{note.id}", headers=person.headers, json={"body": "longer"})
    assert longer.status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"max_stored_bytes_per_user": 0, "max_documents_per_user": 1},
        {"max_stored_bytes_per_user": 100, "max_documents_per_user": 0},
    ],
    indirect=True,
)
async def test_each_quota_works_without_the_other(api: Api) -> None:
    person = await api.register()
    assert (await upload(api, person, 100)).status_code == 202
    assert_refused(await upload(api, person, 100, "b"))


async def send_chunked(
    api: Api, person: Person, method: str, path: str, headers: dict[str, str]
) -> tuple[httpx2.Response, int]:
    """Send a body that is not multipart in pieces. Return the response and the number of pieces sent."""
    sent: list[bytes] = []

    async def send() -> AsyncIterator[bytes]:
        for _ in range(20):
            sent.append(b"x" * 1000)
            yield sent[-1]

    media_type = {"Content-Type": "multipart/form-data; boundary=x"}
    response = await api.client.request(method, path, headers=person.headers | media_type | headers, content=send())
    return response, len(sent)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_too_long_body_is_refused_before_it_is_received(api: Api, method: str) -> None:
    person = await api.register()
    location = (await upload(api, person, 50_000)).headers["location"]
    path = "/v1/documents" if method == "POST" else f"{location}/content"
    free = MAX_BYTES - 50_000 * (method == "POST")
    too_long = {"Content-Length": str(free + MAX_ENVELOPE_BYTES + 1), "Expect": "100-continue"}
    response, pieces = await send_chunked(api, person, method, path, too_long)
    assert_refused(response, "You store 50000 bytes")
    assert pieces == 0
    # A client that did not ask gets the response after its body.
    response, pieces = await send_chunked(api, person, method, path, {"Content-Length": too_long["Content-Length"]})
    assert_refused(response, "You store 50000 bytes")
    assert pieces == 20
    fits = {"Content-Length": str(free + MAX_ENVELOPE_BYTES)}
    response, _ = await send_chunked(api, person, method, path, fits)
    assert response.status_code == 422, "this body is received, and is not multipart"


async def test_long_body_is_refused_early_at_the_quota_of_documents(api: Api) -> None:
    person = await api.register()
    for _ in range(MAX_DOCUMENTS):
        await write_note(api, person)
    long = {"Content-Length": str(MAX_ENVELOPE_BYTES + 1), "Expect": "100-continue"}
    response, pieces = await send_chunked(api, person, "POST", "/v1/documents", long)
    assert_refused(response, "You have 4 documents and notes")
    assert pieces == 0


async def test_file_of_unknown_length_is_checked_when_it_is_received(api: Api) -> None:
    person = await api.register()
    await upload(api, person, MAX_BYTES)
    request = api.client.build_request("POST", "/v1/documents", files={"file": ("b.txt", b"b" * MAX_BYTES)})
    body = await request.aread()

    async def send() -> AsyncIterator[bytes]:
        yield body

    headers = {**person.headers, "Content-Type": request.headers["content-type"]}
    assert_refused(await api.client.post("/v1/documents", headers=headers, content=send()), "You store 100000 bytes")


WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.mark.parametrize("request_kind", ["upload", "version", "note", "edit"])
async def test_concurrent_requests_never_exceed_a_quota_together(
    api: Api, runtime: Runtime, database_url: str, request_kind: str
) -> None:
    """Another process has checked the quota and not committed yet. A request then waits for it, and is refused."""
    person = await api.register()
    owner_id = await find_owner(api, person)
    location = (await upload(api, person, 10)).headers["location"]
    note = (await write_note(api, person, "x")).json()["id"]
    requests = {
        "upload": lambda: upload(api, person, 100, "b"),
        "version": lambda: replace(api, person, location, 100),
        "note": lambda: write_note(api, person, "x" * 100),
        "edit": lambda: api.client.patch(f"/v1/notes/{note}", headers=person.headers, json={"body": "x" * 100}),
    }
    added = Stored(1, MAX_BYTES - 50)
    async with runtime.database.transaction(Caller(owner_id)) as session:
        await access.add_note(session, owner_id, new_id(), "Title", "x" * added.bytes)
        await quotas.require_storage(session, runtime.settings, Caller(owner_id), added)
        request = asyncio.create_task(requests[request_kind]())

        async def is_waiting_or_done() -> bool:
            return request.done() or await fetch_value(database_url, WAITING) > 0

        await wait_for(is_waiting_or_done)
    assert_refused(await request, f"You store {added.bytes + 11} bytes")
    assert await find_usage(api, person) == (3, added.bytes + 11)


async def test_accounts_do_not_wait_for_each_other(api: Api, runtime: Runtime) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    owner_id = await find_owner(api, anna)
    async with runtime.database.transaction(Caller(owner_id)) as session:
        await quotas.require_storage(session, runtime.settings, Caller(owner_id), Stored(1, 1))
        assert (await upload(api, bert, 1)).status_code == 202


@pytest.mark.parametrize("settings", [NO_QUOTA], indirect=True)
async def test_without_a_quota_usage_has_no_limit(api: Api) -> None:
    person = await api.register()
    for letter in "abcde":
        assert (await upload(api, person, MAX_BYTES, letter)).status_code == 202
    assert (await api.get(person, "/v1/users/me")).json()["usage"] == {
        "stored_bytes": {"used": 5 * MAX_BYTES, "limit": None},
        "documents": {"used": 5, "limit": None},
    }


def test_migration_measures_existing_notes(postgres_url: str) -> None:
    url = clone_database(postgres_url, "note_sizes", template="template1")
    migrate(url, "0014")
    run_sql(
        url,
        "INSERT INTO users (id, email, password_hash) SELECT md5('u')::uuid, 'a@b', ''",
        "INSERT INTO notes (owner_id, id, title, body) SELECT md5('u')::uuid, md5('n')::uuid, 'Title', 'ü'",
    )
    migrate(url, "head")
    assert run_sql(url, "SELECT size_bytes FROM notes")[0][0] == 2
    downgrade(url, "0014")
    assert run_sql(url, "SELECT body FROM notes")[0][0] == "ü"
