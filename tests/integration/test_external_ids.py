"""What an upload says about its file: metadata, an external id, collections and attributes."""

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx2
import pytest

from pipeline.db import access, queue
from pipeline.settings import Settings
from pipeline.types import Caller, Subject, SubjectKind, new_id
from tests.databases import fetch, fetch_value
from tests.integration.conftest import Api, Person

pytestmark = pytest.mark.anyio


async def upload(
    api: Api, person: Person, content: bytes, name: str = "a.txt", *, status: int = 202, **fields: Any
) -> dict[str, Any]:
    """Upload a file with fields, and return the JSON of the response, which must have this status."""
    data = {key: value if isinstance(value, str | list) else json.dumps(value) for key, value in fields.items()}
    response: httpx2.Response = await api.client.post(
        "/v1/documents", headers=person.headers, files={"file": (name, content)}, data=data
    )
    assert response.status_code == status, response.text
    shown: dict[str, Any] = response.json()
    return shown


async def patch(api: Api, person: Person, document_id: str, *, status: int = 200, **fields: Any) -> dict[str, Any]:
    response = await api.client.patch(f"/v1/documents/{document_id}", headers=person.headers, json=fields)
    assert response.status_code == status, response.text
    shown: dict[str, Any] = response.json()
    return shown


async def create_collection(api: Api, person: Person, name: str) -> str:
    response = await api.client.post("/v1/collections", headers=person.headers, json={"name": name})
    collection_id: str = response.json()["id"]
    return collection_id


async def read_content(api: Api, person: Person, document_id: str) -> bytes:
    return (await api.get(person, f"/v1/documents/{document_id}/content")).content


async def test_upload_stores_what_it_says_about_the_file(api: Api) -> None:
    person = await api.register()
    ids = [await create_collection(api, person, name) for name in ("first", "second")]
    document = await upload(
        api, person, b"one", metadata={"team": 1}, external_id="a-1", collection_id=ids, attributes={"year": 2026}
    )
    assert (document["metadata"], document["external_id"], document["collection_ids"]) == ({"team": 1}, "a-1", ids)
    for collection_id in ids:
        [member] = (await api.get(person, f"/v1/collections/{collection_id}/documents")).json()["items"]
        assert member["attributes"] == {"year": 2026}
    again = await upload(api, person, b"one", "b.txt", status=200, metadata={"team": 2})
    assert (again["id"], again["filename"], again["metadata"]) == (document["id"], "a.txt", {"team": 2})
    assert (again["external_id"], again["collection_ids"]) == ("a-1", ids)


async def test_refused_fields_are_named_and_nothing_is_stored(api: Api, database_url: str) -> None:
    person = await api.register()
    for field, value in (
        ("purpose", "assistants"),
        ("metadata", "no JSON"),
        ("metadata", "[1]"),
        ("metadata", json.dumps({"a": "x" * 17_000})),
        ("metadata", ["{}", "{}"]),
        ("external_id", ""),
        ("external_id", "x" * 513),
        ("external_id", "\0"),
        ("collection_id", "no-id"),
        ("collection_id", str(new_id())),
        ("attributes", '{"a": null}'),
        ("attributes", '{"a": 1}'),
    ):
        fields: dict[str, Any] = {field: value}
        problem = await upload(api, person, b"one", status=422, **fields)
        assert problem["errors"][0]["field"].startswith(field), (field, value)
    assert await fetch_value(database_url, "SELECT count(*) FROM documents") == 0


async def test_external_id_names_the_document_to_replace(api: Api, database_url: str) -> None:
    anna, bert = await api.register("anna"), await api.register("bert")
    first = await upload(api, anna, b"one", external_id="a-1", metadata={"team": 1})
    assert (await upload(api, bert, b"one", external_id="a-1"))["id"] != first["id"]
    second = await upload(api, anna, b"two", "b.txt", external_id="a-1")
    assert (second["id"], second["filename"], second["metadata"]) == (first["id"], "b.txt", {"team": 1})
    assert await read_content(api, anna, first["id"]) == b"two"
    same = await upload(api, anna, b"two", "c.txt", status=200, external_id="a-1", metadata={})
    assert (same["id"], same["filename"], same["metadata"]) == (first["id"], "c.txt", {})
    assert await api.work() == 2
    assert await fetch_value(database_url, "SELECT count(*) FROM documents") == 2


async def test_same_bytes_keep_their_document(api: Api) -> None:
    """The bytes of another document are refused if that one has another external id, so that nothing is lost."""
    person = await api.register()
    plain = await upload(api, person, b"plain")
    named = await upload(api, person, b"plain", status=200, external_id="a-1")
    assert (named["id"], named["external_id"]) == (plain["id"], "a-1")
    other = await upload(api, person, b"other", external_id="b-1", metadata={"team": 1})
    for external_id in ("b-1", "c-1"):
        problem = await upload(api, person, b"plain", status=409, external_id=external_id, metadata={"team": 2})
        assert problem["code"] == "duplicate_content"
        assert plain["id"] in problem["detail"]
    shown = (await api.get(person, f"/v1/documents/{other['id']}")).json()
    assert (shown["metadata"], await read_content(api, person, other["id"])) == ({"team": 1}, b"other")


async def test_properties_of_a_document_change(api: Api, database_url: str) -> None:
    person = await api.register()
    document_id = (await upload(api, person, b"The gate is open.", metadata={"team": 1}))["id"]
    other_id = (await upload(api, person, b"other", external_id="b-1"))["id"]
    await api.work()
    changed = await patch(api, person, document_id, filename="../März.txt", metadata={}, external_id="a-1")
    assert (changed["filename"], changed["metadata"], changed["external_id"]) == ("März.txt", {}, "a-1")
    assert (changed["status"], changed["chunks"]) == ("ready", 1)
    assert (await patch(api, person, document_id, metadata={"a": 1}))["external_id"] == "a-1"
    assert (await patch(api, person, document_id, external_id=None))["external_id"] is None
    assert await patch(api, person, document_id) == (await api.get(person, f"/v1/documents/{document_id}")).json()
    assert (await patch(api, person, document_id, status=409, external_id="b-1"))["code"] == "external_id_taken"
    assert (await patch(api, person, document_id, status=422, filename=".."))["errors"][0]["field"] == "filename"
    assert (await patch(api, person, document_id, status=422, name="x"))["errors"]
    await patch(api, person, str(new_id()), status=404, filename="x")
    assert (await api.get(person, f"/v1/documents/{other_id}")).json()["external_id"] == "b-1"
    updates = await fetch(database_url, "SELECT details FROM audit_logs WHERE event_type = 'document.update'")
    assert len(updates) == 3


async def test_uploads_with_an_external_id_at_once_are_versions_of_one_document(api: Api, database_url: str) -> None:
    person = await api.register()
    contents = [b"version %d" % number for number in range(8)]
    answers = await asyncio.gather(*(upload(api, person, content, external_id="a-1") for content in contents))
    assert len({answer["id"] for answer in answers}) == 1
    assert await fetch_value(database_url, "SELECT count(*) FROM documents") == 1
    assert await fetch_value(database_url, "SELECT count(*) FROM jobs") == 1
    assert await read_content(api, person, answers[0]["id"]) in contents


async def test_upload_waits_for_another_one_with_its_external_id(api: Api) -> None:
    """The other one has stored nothing that this one could see when it begins."""
    person = await api.register()
    owner_id = UUID((await api.get(person, "/v1/users/me")).json()["id"])
    async with api.runtime.database.transaction(Caller(owner_id)) as session:
        await access.lock_external_id(session, owner_id, "a-1")
        uploading = asyncio.create_task(upload(api, person, b"two", external_id="a-1"))
        done, _ = await asyncio.wait((uploading,), timeout=0.3)
        assert not done
        other_id = (await upload(api, person, b"three"))["id"]
        patching = asyncio.create_task(patch(api, person, other_id, status=409, external_id="a-1"))
        done, _ = await asyncio.wait((patching,), timeout=0.3)
        assert not done
    document_id = (await uploading)["id"]
    await patching
    assert await read_content(api, person, document_id) == b"two"


async def test_upload_of_bytes_that_their_document_has_just_lost_is_a_new_document(api: Api) -> None:
    """Between finding the bytes and locking their document, that one gets a new version, which must not be lost."""
    person = await api.register()
    owner_id = UUID((await api.get(person, "/v1/users/me")).json()["id"])
    document_id = UUID((await upload(api, person, b"one"))["id"])
    async with api.runtime.database.transaction(Caller(owner_id)) as session:
        await queue.lock_subject(session, Subject(owner_id, SubjectKind.DOCUMENT, document_id))
        uploading = asyncio.create_task(upload(api, person, b"one"))
        done, _ = await asyncio.wait((uploading,), timeout=0.3)
        assert not done
        await access.describe_document(session, owner_id, document_id, sha256=b"x" * 32)
    assert (await uploading)["id"] != str(document_id)


@pytest.mark.parametrize(
    "settings", [{"max_documents_per_user": 1, "max_stored_bytes_per_user": 100_000}], indirect=True
)
async def test_replacement_by_external_id_is_within_the_quota(api: Api) -> None:
    person = await api.register()
    await upload(api, person, b"x" * 90_000, external_id="a-1")
    await upload(api, person, b"y" * 95_000, external_id="a-1")
    assert (await upload(api, person, b"z" * 100_001, status=403, external_id="a-1"))["code"] == "quota_exceeded"
    assert (await upload(api, person, b"z", status=403, external_id="b-1"))["code"] == "quota_exceeded"


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Settings, changed for one test by `@pytest.mark.parametrize("settings", [{…}], indirect=True)`."""
    return settings.model_copy(update=getattr(request, "param", {}))
