"""Files, vector stores and their files in the format of OpenAI, with its SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import openai
import pytest

from pipeline.errors import Conflict
from pipeline.types import Caller, new_id
from pipeline.use_cases import stores
from tests.databases import fetch
from tests.integration.conftest import Api, Person
from tests.integration.sdk import Sdk

pytestmark = pytest.mark.anyio

LOCK = b"The lock is closed when the gauge reads more than 3.2 metres."
GATES = b"The hinges of the oak gates are greased with mutton tallow."


@pytest.fixture
async def sdk(api: Api) -> AsyncIterator[Sdk]:
    async with Sdk(api, await api.register()) as sdk:
        yield sdk


@pytest.fixture
async def stranger(api: Api) -> AsyncIterator[Sdk]:
    async with Sdk(api, await api.register("berta")) as sdk:
        yield sdk


async def upload(sdk: Sdk, content: bytes = LOCK, name: str = "lock.txt") -> str:
    return (await sdk.files.create(file=(name, content), purpose="assistants")).id


async def test_life_of_a_file(sdk: Sdk, api: Api) -> None:
    file = await sdk.files.create(file=("lock.txt", LOCK), purpose="user_data")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(LOCK), "lock.txt", "user_data")
    assert (file.status, file.expires_at) == ("uploaded", None)
    again = await sdk.files.create(file=("other.txt", LOCK), purpose="user_data")
    assert again == file, "the same bytes"
    assert (await sdk.files.create(file=("lock.txt", LOCK), purpose="assistants")).purpose == "assistants"
    native = (await api.get(sdk.person, f"/v1/documents/{file.id}")).json()
    assert native["filename"] == "lock.txt"
    await api.work()
    assert (await sdk.files.retrieve(file.id)).status == "processed"
    assert (await sdk.files.content(file.id)).content == LOCK
    store = await sdk.vector_stores.create(name="Locks", file_ids=[file.id])
    deleted = await sdk.files.delete(file.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (file.id, True, "file")
    assert (await sdk.vector_stores.retrieve(store.id)).file_counts.total == 0
    for gone in (sdk.files.retrieve(file.id), sdk.files.content(file.id), sdk.files.delete(file.id)):
        with pytest.raises(openai.NotFoundError):
            await gone


async def test_fields_of_an_upload_come_in_any_order_and_are_kept_or_refused(sdk: Sdk, api: Api) -> None:
    file: Any = ("file", ("a.txt", LOCK, "text/plain"))
    purpose: Any = ("purpose", (None, b"assistants"))
    for parts in ([file, purpose], [purpose, file]):
        answer = await api.client.post("/v1/files", headers=sdk.person.headers, files=parts)
        assert (answer.status_code, answer.json()["purpose"]) == (200, "assistants")
    refused: list[tuple[list[Any], str]] = [
        ([file], "purpose"),
        ([file, ("purpose", (None, b"fine-tune"))], "purpose"),
        ([file, purpose, purpose], "purpose"),
        ([file, purpose, ("expires_after[anchor]", (None, b"created_at"))], "expires_after[anchor]"),
        ([purpose, ("expires_after[seconds]", (None, b"3600")), file], "expires_after[seconds]"),
        ([file, purpose, ("surprise", (None, b"x"))], "surprise"),
        ([purpose], "file"),
    ]
    for parts, field in refused:
        answer = await api.client.post("/v1/files", headers=sdk.person.headers, files=parts)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field), parts
        assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_files_are_listed_page_by_page(sdk: Sdk, stranger: Sdk) -> None:
    ids = [await upload(sdk, b"Text %d." % number) for number in range(5)]
    foreign = await upload(stranger)
    await sdk.files.create(file=("user.txt", GATES), purpose="user_data")
    listed = [file.id async for file in sdk.files.list(limit=2, order="asc", purpose="assistants")]
    assert listed == ids
    newest = await sdk.files.list(purpose="assistants", limit=2)
    assert [file.id for file in newest.data] == ids[:2:-1]
    assert newest.has_more
    assert len((await sdk.files.list()).data) == 6
    for cursor in (foreign, str(new_id()), "file-abc"):
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.files.list(after=cursor)
        assert refused.value.param == "after"
    for limit in (0, 10_001):
        with pytest.raises(openai.BadRequestError):
            await sdk.files.list(limit=limit)


async def test_life_of_a_vector_store(sdk: Sdk, api: Api) -> None:
    file_id = await upload(sdk)
    store = await sdk.vector_stores.create(
        name="Locks", description="All locks.", file_ids=[file_id, file_id], metadata={"river": "Ouse"}
    )
    assert (store.object, store.name, store.metadata) == ("vector_store", "Locks", {"river": "Ouse"})
    assert (store.status, store.usage_bytes) == ("in_progress", len(LOCK))
    assert store.file_counts.model_dump() == {
        "in_progress": 1, "completed": 0, "failed": 0, "cancelled": 0, "total": 1,
    }  # fmt: skip
    native = (await api.get(sdk.person, f"/v1/collections/{store.id}")).json()
    assert (native["name"], native["description"], native["documents"]) == ("Locks", "All locks.", 1)
    await api.work()
    assert (await sdk.vector_stores.retrieve(store.id)).status == "completed"
    changed = await sdk.vector_stores.update(store.id, name="Gates")
    assert (changed.name, changed.metadata) == ("Gates", {"river": "Ouse"})
    changed = await sdk.vector_stores.update(store.id, metadata={"river": "Foss"})
    assert (changed.name, changed.metadata) == ("Gates", {"river": "Foss"})
    assert (await sdk.vector_stores.update(store.id, metadata=None)).metadata == {}
    deleted = await sdk.vector_stores.delete(store.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (store.id, True, "vector_store.deleted")
    with pytest.raises(openai.NotFoundError):
        await sdk.vector_stores.retrieve(store.id)
    assert (await sdk.files.retrieve(file_id)).id == file_id, "the files stay"


async def test_stores_may_have_the_same_name_or_none(sdk: Sdk, api: Api) -> None:
    stores = [await sdk.vector_stores.create(name="Locks") for _ in range(3)]
    stores += [await sdk.vector_stores.create() for _ in range(2)]
    stores.append(await sdk.vector_stores.create(name="L" * 250))
    assert [store.name for store in stores] == ["Locks"] * 3 + [""] * 2 + ["L" * 250]
    native = (await api.get(sdk.person, "/v1/collections")).json()["items"]
    assert [one["name"] for one in native[::-1]] == [
        "Locks", "Locks (2)", "Locks (3)", "Vector store", "Vector store (2)", "L" * 180,
    ]  # fmt: skip
    renamed = await sdk.vector_stores.update(stores[3].id, name="Locks")
    assert renamed.name == "Locks"
    assert (await sdk.vector_stores.update(stores[0].id, name="Locks")).name == "Locks"
    path = f"/v1/collections/{stores[1].id}"
    changed = await api.client.patch(path, headers=sdk.person.headers, json={"name": "Weirs"})
    assert changed.json()["name"] == "Weirs"
    assert (await sdk.vector_stores.retrieve(stores[1].id)).name == "Weirs"
    created = await asyncio.gather(*(sdk.vector_stores.create(name="At once") for _ in range(5)))
    assert {store.name for store in created} == {"At once"}


async def test_vector_stores_are_listed_in_both_directions(sdk: Sdk, stranger: Sdk) -> None:
    ids = [(await sdk.vector_stores.create(name=f"{number}")).id for number in range(5)]
    assert [store.id async for store in sdk.vector_stores.list(limit=2)] == ids[::-1]
    assert [store.id async for store in sdk.vector_stores.list(limit=2, order="asc")] == ids
    before = await sdk.vector_stores.list(limit=2, before=ids[0])
    assert ([store.id for store in before.data], before.has_more) == ([ids[2], ids[1]], True)
    between = await sdk.vector_stores.list(order="asc", after=ids[0], before=ids[3])
    assert ([store.id for store in between.data], between.has_more) == ([ids[1], ids[2]], False)
    foreign = (await stranger.vector_stores.create()).id
    for cursor in (foreign, str(new_id()), "vs_abc"):
        for side in ("after", "before"):
            with pytest.raises(openai.BadRequestError):
                await sdk.vector_stores.list(**{side: cursor})  # type: ignore[arg-type]  # the parameters of all cases


async def test_life_of_a_store_file(sdk: Sdk, api: Api) -> None:
    store, other = [(await sdk.vector_stores.create(name=name)).id for name in "ab"]
    file_id = await upload(sdk)
    file = await sdk.vector_stores.files.create(
        file_id=file_id, vector_store_id=store, attributes={"year": 1911, "open": True}
    )
    assert (file.id, file.object, file.vector_store_id) == (file_id, "vector_store.file", store)
    assert (file.status, file.usage_bytes, file.last_error) == ("in_progress", len(LOCK), None)
    assert file.attributes == {"year": 1911, "open": True}
    assert file.chunking_strategy
    assert file.chunking_strategy.type == "static"
    await sdk.vector_stores.files.create(file_id=file_id, vector_store_id=other, chunking_strategy={"type": "auto"})
    await api.work()
    files = sdk.vector_stores.files
    assert (await files.create(file_id=file_id, vector_store_id=store)).status == "completed"
    assert (await files.retrieve(file_id, vector_store_id=store)).attributes == {"year": 1911, "open": True}
    changed = await files.update(file_id, vector_store_id=store, attributes={"place": "Naburn"})
    assert changed.attributes == {"place": "Naburn"}
    assert (await files.retrieve(file_id, vector_store_id=other)).attributes == {}
    content = await files.content(file_id, vector_store_id=store)
    assert [(page.type, page.text) for page in content.data] == [("text", LOCK.decode())]
    deleted = await files.delete(file_id, vector_store_id=store)
    assert (deleted.id, deleted.deleted, deleted.object) == (file_id, True, "vector_store.file.deleted")
    for gone in (
        files.retrieve(file_id, vector_store_id=store),
        files.update(file_id, vector_store_id=store, attributes={}),
        files.content(file_id, vector_store_id=store),
        files.delete(file_id, vector_store_id=store),
    ):
        with pytest.raises(openai.NotFoundError):
            await gone
    assert (await files.retrieve(file_id, vector_store_id=other)).status == "completed"


async def test_store_files_are_filtered_and_listed_in_the_order_of_their_addition(sdk: Sdk, api: Api) -> None:
    files, store = sdk.vector_stores.files, (await sdk.vector_stores.create()).id
    ids = [await upload(sdk, b"Text %d." % number) for number in range(4)]
    await api.work()
    bad = await upload(sdk, b"%PDF-1.7 broken", "broken.pdf")
    await api.work()
    waiting = await upload(sdk, GATES)
    order = [waiting, *ids[::-1], bad]
    for file_id in order:
        await files.create(file_id=file_id, vector_store_id=store)
    assert [file.id async for file in files.list(store, limit=2, order="asc")] == order
    assert [file.id async for file in files.list(store, limit=2)] == order[::-1]
    expected = {"in_progress": [waiting], "completed": ids[::-1], "failed": [bad], "cancelled": []}
    for state, found in expected.items():
        listed = files.list(store, filter=state, order="asc", limit=3)  # type: ignore[arg-type]  # the parameters of all cases
        assert [file.id async for file in listed] == found, state
    failed = await files.retrieve(bad, vector_store_id=store)
    assert failed.last_error
    assert failed.last_error.code == "invalid_file"
    assert failed.last_error.message.startswith("malformed: ")
    page = await files.list(store, filter="completed", order="asc", after=waiting, limit=1)
    assert [file.id for file in page.data] == ids[3:], "an item whose status has changed is a cursor, too"
    for cursor in (str(new_id()), "x"):
        with pytest.raises(openai.BadRequestError):
            await files.list(store, after=cursor)
    counts = (await sdk.vector_stores.retrieve(store)).file_counts
    assert (counts.in_progress, counts.completed, counts.failed, counts.total) == (1, 4, 1, 6)


async def test_upload_and_poll_waits_for_the_end_in_one_request(sdk: Sdk, api: Api) -> None:
    store = (await sdk.vector_stores.create()).id
    polling = asyncio.create_task(
        sdk.vector_stores.files.upload_and_poll(vector_store_id=store, file=("lock.txt", LOCK), attributes={"a": "b"})
    )
    while not (await sdk.files.list()).data:  # noqa: ASYNC110 - another task writes the row
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    await api.work()
    file = await polling
    assert (file.status, file.attributes) == ("completed", {"a": "b"})
    [path] = [path for path in sdk.paths if path.endswith(f"/files/{file.id}")]
    assert path == f"/v1/vector_stores/{store}/files/{file.id}", "the poll was held"


async def test_answer_says_when_to_ask_again(sdk: Sdk, api: Api) -> None:
    store = (await sdk.vector_stores.create(file_ids=[await upload(sdk)])).id
    [file] = (await sdk.vector_stores.files.list(store)).data
    path = f"/v1/vector_stores/{store}/files/{file.id}"
    answer = await api.get(sdk.person, path)
    assert answer.headers["openai-poll-after-ms"] == "200"
    await api.work()
    assert "openai-poll-after-ms" not in (await api.get(sdk.person, path)).headers


async def test_key_bound_to_a_store_sees_nothing_else(sdk: Sdk, api: Api) -> None:
    inside, outside = [await upload(sdk, text) for text in (LOCK, GATES)]
    store, other = [(await sdk.vector_stores.create(file_ids=[file_id])).id for file_id in (inside, outside)]
    draft = {"name": "bound", "collection_ids": [store]}
    secret = (await api.client.post("/v1/api-keys", headers=sdk.person.headers, json=draft)).json()["secret"]
    async with Sdk(api, Person("", "", {"Authorization": f"Bearer {secret}"})) as bound:
        assert [one.id async for one in bound.vector_stores.list()] == [store]
        assert [file.id async for file in bound.files.list()] == [inside]
        files = bound.vector_stores.files
        added = await files.upload(vector_store_id=store, file=("new.txt", b"New."))
        assert [file.id async for file in files.list(store)] == [added.id, inside]
        for refused in (
            bound.files.retrieve(outside),
            bound.vector_stores.retrieve(other),
            bound.vector_stores.delete(outside),
            files.list(other),
            files.create(other, file_id=inside),
            files.create(store, file_id=outside),
            files.update(outside, vector_store_id=other, attributes={}),
            files.content(outside, vector_store_id=other),
        ):
            with pytest.raises((openai.NotFoundError, openai.PermissionDeniedError)):
                await refused
        with pytest.raises(openai.BadRequestError):
            await bound.files.list(after=outside)
        with pytest.raises(openai.PermissionDeniedError):
            await bound.vector_stores.create()
        await bound.vector_stores.update(store, name="Mine")
        # The other store has this name. The key does not see it, and shares the names of the account with it.
        await sdk.vector_stores.update(other, name="Taken")
        renamed = await asyncio.wait_for(bound.vector_stores.update(store, name="Taken"), 10)
        assert renamed.name == "Taken"
    assert (await sdk.vector_stores.retrieve(store)).file_counts.total == 2


async def test_long_texts_are_sent_in_pieces_of_one_version(sdk: Sdk, api: Api, database_url: str) -> None:
    file_id = await upload(sdk)
    store = (await sdk.vector_stores.create(file_ids=[file_id])).id
    texts = ("a" * 600_000, "", "b" * 900_000)
    for number, text in enumerate(texts):
        await fetch(
            database_url,
            """INSERT INTO document_pages (owner_id, document_id, page, start, length, text)
               SELECT owner_id, id, $1::int, $2::int, length($3), $3 FROM documents""",
            *(number, sum(map(len, texts[:number])), text),
        )
    content = await sdk.vector_stores.files.content(file_id, vector_store_id=store)
    assert [page.text for page in content.data] == [texts[0], "b" * 400_000, "b" * 500_000]
    owner = UUID((await api.get(sdk.person, "/v1/users/me")).json()["id"])
    reading = stores.read_text(api.runtime, Caller(owner), UUID(store), UUID(file_id))
    await anext(reading)
    await fetch(database_url, "UPDATE documents SET ingested_at = now()")
    with pytest.raises(Conflict):
        await anext(reading)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("", {"expires_after": {"anchor": "last_active_at", "days": 1}}, "expires_after"),
    ("", {"chunking_strategy": {"type": "static", "static": {}}}, "chunking_strategy"),
    ("", {"surprise": 1}, "surprise"),
    ("", {"metadata": {"a": 1}}, "metadata"),
    ("", {"metadata": {f"{number}": "" for number in range(17)}}, "metadata"),
    ("", {"name": "\0"}, "name"),
    ("/{store}", {"expires_after": {"anchor": "last_active_at", "days": 1}}, "expires_after"),
    ("/{store}", {"description": "not in the format"}, "description"),
    ("/{store}/files", {"file_id": "", "chunking_strategy": {"type": "static"}}, "chunking_strategy"),
    ("/{store}/files", {"file_id": "", "attributes": {"a": []}}, "attributes"),
    ("/{store}/files", {}, "file_id"),
    ("/{store}/files/{file}", {}, "attributes"),
]


async def test_what_is_not_built_is_refused(sdk: Sdk, api: Api) -> None:
    file = await upload(sdk)
    store = (await sdk.vector_stores.create(file_ids=[file])).id
    for path, given, field in REFUSED:
        body = given | ({"file_id": file} if "file_id" in given else {})
        url = f"/v1/vector_stores{path.format(store=store, file=file)}"
        answer = await api.client.post(url, headers=sdk.person.headers, json=body)
        assert answer.status_code == 400, (path, body, answer.text)
        error = answer.json()["error"]
        assert field in f"{error['param']}, {answer.json()['errors'][0]['message']}", (body, answer.text)
    assert len((await sdk.vector_stores.list()).data) == 1, "nothing was created"


async def test_unknown_files_are_404_and_nothing_is_stored(sdk: Sdk, stranger: Sdk) -> None:
    mine, foreign = await upload(sdk), await upload(stranger)
    store = (await sdk.vector_stores.create()).id
    for file_id in (foreign, str(new_id()), "file-abc"):
        with pytest.raises(openai.NotFoundError):
            await sdk.vector_stores.create(file_ids=[mine, file_id])
        with pytest.raises(openai.NotFoundError):
            await sdk.vector_stores.files.create(file_id=file_id, vector_store_id=store)
    assert [one.id for one in (await sdk.vector_stores.list()).data] == [store]
    assert (await sdk.vector_stores.files.list(store)).data == []
