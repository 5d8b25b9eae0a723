"""Collections, and documents and notes in them."""

import asyncio
import json
from functools import partial
from typing import Any
from uuid import UUID

import httpx2
import pytest

from pipeline.db import collections
from pipeline.types import Caller
from tests.databases import fetch, fetch_value
from tests.integration.conftest import Api, Person

pytestmark = pytest.mark.anyio

UNKNOWN = "01a2084b-9065-752d-aaf7-35b94206de34"


async def send(
    api: Api, person: Person, method: str, path: str, body: Any = None, *, status: int = 200
) -> dict[str, Any]:
    """Send a request, and return the JSON of the response, which must have this status."""
    options = {} if body is None else {"json": body}
    response: httpx2.Response = await api.client.request(method, path, headers=person.headers, **options)
    assert response.status_code == status, response.text
    shown: dict[str, Any] = response.json() if response.content else {}
    return shown


async def create(api: Api, person: Person, name: str = "Locks", **fields: Any) -> str:
    """Create a collection, and return its path."""
    created = await send(api, person, "POST", "/v1/collections", {"name": name, **fields}, status=201)
    return f"/v1/collections/{created['id']}"


async def upload(api: Api, person: Person, text: str) -> str:
    document_id: str = (await api.upload(person, text.encode())).json()["id"]
    return document_id


async def write(api: Api, person: Person, title: str, **fields: Any) -> str:
    draft = {"title": title, "body": "A note.", **fields}
    note_id: str = (await send(api, person, "POST", "/v1/notes", draft, status=201))["id"]
    return note_id


async def find_owner(api: Api, person: Person) -> UUID:
    return UUID((await api.get(person, "/v1/users/me")).json()["id"])


async def test_collections_are_created_listed_changed_and_deleted(api: Api, database_url: str) -> None:
    person = await api.register()
    path = await create(api, person, description="Handbooks.", metadata={"team": {"name": "Ä"}})
    other = await create(api, person, "Weirs")
    shown = await send(api, person, "GET", path)
    assert (shown["name"], shown["description"], shown["metadata"]) == ("Locks", "Handbooks.", {"team": {"name": "Ä"}})
    page = await send(api, person, "GET", "/v1/collections?limit=1")
    assert [one["name"] for one in page["items"]] == ["Weirs"]
    rest = await send(api, person, "GET", f"/v1/collections?limit=1&cursor={page['next_cursor']}")
    assert ([one["name"] for one in rest["items"]], rest["next_cursor"]) == (["Locks"], None)
    changed = await send(api, person, "PATCH", path, {"description": "", "metadata": {}})
    assert (changed["name"], changed["description"], changed["metadata"]) == ("Locks", "", {})
    assert changed["updated_at"] > shown["updated_at"]
    await send(api, person, "DELETE", other, status=204)
    await send(api, person, "GET", other, status=404)
    events = await fetch(database_url, "SELECT event_type, details FROM audit_logs ORDER BY id")
    assert [row["event_type"] for row in events] == ["collection.create", "collection.create", "collection.delete"]


async def test_name_is_unique_for_an_owner(api: Api) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    await create(api, anna)
    path = await create(api, anna, "Weirs")
    for method, target, status in (("POST", "/v1/collections", 409), ("PATCH", path, 409)):
        problem = await send(api, anna, method, target, {"name": "Locks"}, status=status)
        assert problem["code"] == "name_taken"
    assert (await send(api, anna, "PATCH", path, {"name": "Weirs", "description": "The same name."}))["name"] == "Weirs"
    await create(api, bert)


async def test_number_of_collections_is_limited(api: Api, database_url: str) -> None:
    person = await api.register()
    owner = UUID((await send(api, person, "GET", "/v1/users/me"))["id"])
    filling = (
        "INSERT INTO collections (owner_id, id, name)"
        f" SELECT '{owner}', gen_random_uuid(), n::text FROM generate_series(2, {collections.MAX_COLLECTIONS}) AS n"
    )
    await fetch(database_url, filling)
    created = partial(api.client.post, headers=person.headers, json={"name": "new"})
    responses = await asyncio.gather(created("/v1/collections"), created("/v1/vector_stores"))
    assert [one.json()["code"] for one in responses if one.status_code == 409] == ["too_many_collections"]


async def test_document_has_its_own_attributes_in_each_collection(api: Api) -> None:
    person = await api.register()
    first, second = await create(api, person, "first"), await create(api, person, "second")
    document_id = await upload(api, person, "one")
    attributes = {"year": 2026, "share": 0.5, "is_draft": True, "author": "Ä"}
    put = await send(api, person, "PUT", f"{first}/documents/{document_id}", {"attributes": attributes})
    assert (put["attributes"], put["document"]["id"]) == (attributes, document_id)
    assert isinstance(put["attributes"]["year"], int)
    await send(api, person, "PUT", f"{second}/documents/{document_id}", {"attributes": {"year": 2025}})
    await send(api, person, "PUT", f"{first}/documents/{document_id}", {})
    assert (await send(api, person, "GET", f"{first}/documents/{document_id}"))["attributes"] == attributes
    await send(api, person, "PUT", f"{first}/documents/{document_id}", {"attributes": {}})
    [member] = (await send(api, person, "GET", f"{first}/documents"))["items"]
    assert member["attributes"] == {}
    [member] = (await send(api, person, "GET", f"{second}/documents"))["items"]
    assert member["attributes"] == {"year": 2025}
    ids = [path.rsplit("/", 1)[1] for path in (first, second)]
    assert (await send(api, person, "GET", f"/v1/documents/{document_id}"))["collection_ids"] == ids
    await send(api, person, "DELETE", f"{first}/documents/{document_id}", status=204)
    await send(api, person, "DELETE", f"{first}/documents/{document_id}", status=404)
    shown = await send(api, person, "GET", f"/v1/documents/{document_id}")
    assert shown["collection_ids"] == ids[1:]
    assert [(await send(api, person, "GET", path))["documents"] for path in (first, second)] == [0, 1]


async def test_refused_attributes_are_named(api: Api) -> None:
    person = await api.register()
    path = f"{await create(api, person)}/documents/{await upload(api, person, 'one')}"
    for attributes in (
        {str(number): 1 for number in range(17)},
        *({"x" * 65: 1}, {"": 1}, {"a": "x" * 513}, {"a": "\0"}, {"a\0": 1}, {"a": None}, {"a": [1]}),
    ):
        problem = await send(api, person, "PUT", path, {"attributes": attributes}, status=422)
        assert problem["errors"][0]["field"].startswith("attributes"), attributes
    most = {"x" * 63 + str(number): "x" * 512 for number in range(10)} | {str(number): -1.5 for number in range(6)}
    assert (await send(api, person, "PUT", path, {"attributes": most}))["attributes"] == most


async def test_refused_metadata_is_named(api: Api) -> None:
    person = await api.register()
    path = await create(api, person)
    for metadata in ({"a": "x" * 16_380}, {"a": {"b": ["\0"]}}, {"a\0": 1}, ["a"], {"a": [1e300]}):
        for method, target in (("POST", "/v1/collections"), ("PATCH", path)):
            problem = await send(api, person, method, target, {"name": "x", "metadata": metadata}, status=422)
            assert [error["field"] for error in problem["errors"]] == ["metadata"]
    longest = {"a": "x" * (16 * 1024 - len(json.dumps({"a": ""}, separators=(",", ":"))))}
    assert (await send(api, person, "PATCH", path, {"metadata": longest}))["metadata"] == longest


async def test_documents_of_a_collection_are_listed_page_by_page(api: Api) -> None:
    person = await api.register()
    path = await create(api, person)
    ids = [await upload(api, person, text) for text in ("one", "two", "three", "four")]
    for document_id in ids[:3]:
        await send(api, person, "PUT", f"{path}/documents/{document_id}", {})
    page = await send(api, person, "GET", f"{path}/documents?limit=2")
    rest = await send(api, person, "GET", f"{path}/documents?limit=2&cursor={page['next_cursor']}")
    assert [member["document"]["id"] for member in page["items"] + rest["items"]] == [ids[2], ids[1], ids[0]]
    assert rest["next_cursor"] is None
    await api.work()
    await api.client.put(f"/v1/documents/{ids[0]}/content", headers=person.headers, files={"file": ("a.txt", b"new")})
    assert len((await send(api, person, "GET", f"{path}/documents?status=ready"))["items"]) == 2


async def test_notes_are_written_into_collections(api: Api) -> None:
    person = await api.register()
    path = await create(api, person)
    collection_id = path.rsplit("/", 1)[1]
    inside = await write(api, person, "inside", collection_ids=[collection_id, collection_id])
    outside = await write(api, person, "outside")
    await send(api, person, "PUT", f"{path}/notes/{inside}", {"attributes": {"year": 2026}})
    await send(api, person, "PUT", f"{path}/notes/{outside}", {})
    page = await send(api, person, "GET", f"{path}/notes?limit=1")
    rest = await send(api, person, "GET", f"{path}/notes?limit=1&cursor={page['next_cursor']}")
    members = [(member["note"]["title"], member["attributes"]) for member in page["items"] + rest["items"]]
    assert members == [("outside", {}), ("inside", {"year": 2026})]
    assert (await send(api, person, "GET", f"/v1/notes/{inside}"))["collection_ids"] == [collection_id]
    await send(api, person, "DELETE", f"{path}/notes/{outside}", status=204)
    await send(api, person, "GET", f"{path}/notes/{outside}", status=404)
    assert (await send(api, person, "GET", path))["notes"] == 1


async def test_ids_of_others_are_unknown(api: Api, database_url: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    path, document_id, note_id = (
        await create(api, anna),
        await upload(api, anna, "one"),
        await write(api, anna, "one"),
    )
    own = await create(api, bert)
    own_document = await upload(api, bert, "one")
    for target in (
        f"{own}/documents/{document_id}",
        f"{own}/documents/{UNKNOWN}",
        f"{own}/notes/{note_id}",
        f"{path}/documents/{own_document}",
    ):
        await send(api, bert, "PUT", target, {}, status=404)
    for collection_id in (path.rsplit("/", 1)[1], UNKNOWN):
        draft = {"title": "x", "body": "x", "collection_ids": [collection_id]}
        problem = await send(api, bert, "POST", "/v1/notes", draft, status=422)
        assert problem["errors"][0]["field"] == "collection_ids"
    assert await fetch_value(database_url, "SELECT count(*) FROM collection_documents") == 0
    assert await fetch_value(database_url, "SELECT count(*) FROM notes") == 1


async def test_deleting_a_collection_keeps_its_documents_unless_asked(api: Api, database_url: str) -> None:
    person = await api.register()
    kept, gone = await create(api, person, "kept"), await create(api, person, "gone")
    inside, shared, outside = [await upload(api, person, text) for text in ("inside", "shared", "outside")]
    note_id = await write(api, person, "inside", collection_ids=[gone.rsplit("/", 1)[1]])
    for path, document_id in ((gone, inside), (gone, shared), (kept, shared)):
        await send(api, person, "PUT", f"{path}/documents/{document_id}", {})
    await send(api, person, "DELETE", f"{gone}?delete_contents=true", status=204)
    await send(api, person, "GET", gone, status=404)
    await send(api, person, "GET", f"/v1/documents/{inside}", status=404)
    await send(api, person, "GET", f"/v1/notes/{note_id}", status=404)
    await send(api, person, "DELETE", kept, status=204)
    for document_id in (shared, outside):
        assert (await send(api, person, "GET", f"/v1/documents/{document_id}"))["collection_ids"] == []
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 2


async def test_collection_that_is_being_deleted_takes_no_documents(api: Api) -> None:
    """The upload into it, or the membership, waits for the deletion and then finds no collection."""
    person = await api.register()
    path = await create(api, person)
    document_id = await upload(api, person, "one")
    owner_id = await find_owner(api, person)
    async with api.runtime.database.transaction(Caller(owner_id)) as session:
        collection_id = UUID(path.rsplit("/", 1)[1])
        await collections.lock(session, owner_id, collection_id)
        putting = asyncio.create_task(send(api, person, "PUT", f"{path}/documents/{document_id}", {}, status=404))
        draft = {"title": "x", "body": "x", "collection_ids": [str(collection_id)]}
        writing = asyncio.create_task(send(api, person, "POST", "/v1/notes", draft, status=422))
        done, _ = await asyncio.wait((putting, writing), timeout=0.2)
        assert not done
        await collections.delete_collection(session, owner_id, collection_id)
    await asyncio.gather(putting, writing)
