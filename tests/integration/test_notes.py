import asyncio
from typing import Any

import pytest

from pipeline.types import Lease, Stage
from tests.databases import fetch_value, find_violations
from tests.integration.conftest import Api, Person, claim

pytestmark = pytest.mark.anyio


async def write(api: Api, person: Person, title: str = "Plumber", body: str = "The plumber comes on Monday.") -> Any:
    response = await api.client.post("/v1/notes", headers=person.headers, json={"title": title, "body": body})
    assert response.status_code == 201, response.text
    return response.json()


async def search(api: Api, person: Person, query: str) -> list[dict[str, Any]]:
    response = await api.client.post("/v1/search", headers=person.headers, json={"query": query})
    passages: list[dict[str, Any]] = response.json()["passages"]
    return passages


async def test_note_becomes_searchable(api: Api, database_url: str) -> None:
    person = await api.register()
    note = await write(api, person)
    assert set(note) == {"id", "title", "body", "status", "error", "collection_ids", "created_at", "updated_at"}
    assert note["status"] == "pending"
    assert await api.work() == 1
    shown = (await api.get(person, f"/v1/notes/{note['id']}")).json()
    assert (shown["status"], shown["body"]) == ("ready", note["body"])
    (passage,) = await search(api, person, "When does the plumber come?")
    assert (passage["source"], passage["note_id"], passage["title"]) == ("note", note["id"], "Plumber")
    assert note["body"][passage["start"] : passage["end"]] == passage["text"]
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_wait_returns_when_the_status_changes(api: Api) -> None:
    person = await api.register()
    location = f"/v1/notes/{(await write(api, person))['id']}"
    waiting = asyncio.create_task(api.get(person, location, Prefer="wait=20"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await claim(api.runtime)
    response = await waiting
    assert (response.json()["status"], response.headers["preference-applied"]) == ("processing", "wait=20")


async def test_wait_ends_with_its_time_and_at_once_for_terminal_notes(api: Api) -> None:
    person = await api.register()
    location = f"/v1/notes/{(await write(api, person))['id']}"
    assert (await api.get(person, location, Prefer="wait=0")).json()["status"] == "pending"
    await api.work()
    shown = await asyncio.wait_for(api.get(person, location, Prefer="wait=20"), 10)
    assert shown.json()["status"] == "ready"
    assert "preference-applied" not in (await api.get(person, location)).headers


async def test_title_is_found_too(api: Api) -> None:
    person = await api.register()
    await write(api, person, "Passport of Grandmother", "In the upper drawer on the left.")
    await write(api, person, "Car keys", "On the hook beside the door.")
    await api.work()
    assert (await search(api, person, "Where is grandmother's passport?"))[0]["title"] == "Passport of Grandmother"


async def test_edit_replaces_passages_in_one_step(api: Api, database_url: str) -> None:
    person = await api.register()
    note = await write(api, person)
    await api.work()
    path = f"/v1/notes/{note['id']}"
    change = {"body": "The plumber comes on Friday instead."}
    changed = await api.client.patch(path, headers=person.headers, json=change)
    assert (changed.status_code, changed.json()["status"], changed.json()["title"]) == (200, "pending", "Plumber")
    seen: list[list[str]] = []

    async def look(_lease: Lease, _stage: Stage, _progress: float) -> None:
        seen.append([passage["text"] for passage in await search(api, person, "plumber")])

    await api.work(look)
    # Every query finds either the old passage or, after the commit, the new one.
    assert all(texts == [note["body"]] for texts in seen[:-1])
    assert seen[-1] == [change["body"]]
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_edit_takes_the_job_from_a_worker_with_the_old_text(api: Api, database_url: str) -> None:
    person = await api.register()
    note = await write(api, person)
    edited: list[bool] = []

    async def edit(_lease: Lease, stage: Stage, _progress: float) -> None:
        if stage == Stage.STORING and not edited:
            edited.append(True)
            await api.client.patch(
                f"/v1/notes/{note['id']}", headers=person.headers, json={"body": "The plumber has died."}
            )

    assert await api.work(edit) == 2
    assert [passage["text"] for passage in await search(api, person, "plumber")] == ["The plumber has died."]
    assert await asyncio.to_thread(find_violations, database_url) == {}


async def test_delete_at_every_status(api: Api, database_url: str) -> None:
    person = await api.register()
    for state in ("pending", "processing", "ready"):
        note = await write(api, person)
        if state == "processing":
            await claim(api.runtime)
        if state == "ready":
            await api.work()
        path = f"/v1/notes/{note['id']}"
        assert (await api.client.delete(path, headers=person.headers)).status_code == 204
        assert (await api.get(person, path)).status_code == 404
        assert (await api.client.delete(path, headers=person.headers)).status_code == 404
        for table in ("notes", "chunks", "vectors", "jobs"):
            assert await fetch_value(database_url, f"SELECT count(*) FROM {table}") == 0, table


async def test_list_is_paged_newest_first(api: Api) -> None:
    person = await api.register()
    ids = [(await write(api, person, f"Note {number}"))["id"] for number in range(3)]
    first = (await api.get(person, "/v1/notes?limit=2")).json()
    second = (await api.get(person, f"/v1/notes?limit=2&cursor={first['next_cursor']}")).json()
    assert [note["id"] for note in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


async def test_page_of_long_notes_is_short(api: Api) -> None:
    person = await api.register()
    body = "\u65e5" * 200_000
    for title in "abcd":
        response = await api.client.post("/v1/notes", headers=person.headers, json={"title": title, "body": body})
        assert response.status_code == 201
    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await api.get(person, "/v1/notes?limit=100" + (cursor and f"&cursor={cursor}"))).json()
        pages.append([note["title"] for note in page["items"]])
        assert all(note["body"] == body for note in page["items"])
        cursor = page["next_cursor"]
    assert pages == [["d"], ["c"], ["b"], ["a"]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": "x"},
        {"title": "", "body": "x"},
        {"title": "x", "body": ""},
        {"title": "x", "body": " \n\t"},
        {"title": "x", "body": "a\0b"},
        {"title": "x", "body": "y" * 200_001},
        {"title": "x", "body": "y", "more": 1},
    ],
)
async def test_invalid_notes_are_refused(api: Api, body: dict[str, Any]) -> None:
    person = await api.register()
    response = await api.client.post("/v1/notes", headers=person.headers, json=body)
    assert response.status_code == 422
    assert response.json()["errors"]


async def test_empty_change_changes_nothing(api: Api) -> None:
    person = await api.register()
    note = await write(api, person)
    await api.work()
    path = f"/v1/notes/{note['id']}"
    before = (await api.get(person, path)).json()
    assert (await api.client.patch(path, headers=person.headers, json={})).json() == before
    assert await api.work() == 0


async def test_concurrent_delete_and_edit_leave_no_job(api: Api, database_url: str) -> None:
    person = await api.register()
    for _ in range(20):
        path = f"/v1/notes/{(await write(api, person))['id']}"
        await fetch_value(database_url, "WITH gone AS (DELETE FROM jobs RETURNING 1) SELECT count(*) FROM gone")
        edited, deleted = await asyncio.gather(
            api.client.patch(path, headers=person.headers, json={"body": "changed"}),
            api.client.delete(path, headers=person.headers),
        )
        assert (edited.status_code in (200, 404), deleted.status_code) == (True, 204)
        for table in ("notes", "jobs"):
            assert await fetch_value(database_url, f"SELECT count(*) FROM {table}") == 0, table
