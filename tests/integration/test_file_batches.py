"""Batches of files and searches in vector stores, with the SDK of OpenAI."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from pipeline.db import file_batches
from pipeline.types import new_id
from tests.databases import fetch
from tests.integration.conftest import Api, Person
from tests.integration.sdk import Sdk

pytestmark = pytest.mark.anyio

LOCK = "The lock is closed when the gauge reads more than 3.2 metres."
GATES = "The hinges of the oak gates are greased with mutton tallow."
WEIR = "The weir is closed to boats when the gauge reads more than 2.5 metres."


@pytest.fixture
async def sdk(api: Api) -> AsyncIterator[Sdk]:
    async with Sdk(api, await api.register()) as sdk:
        yield sdk


async def upload(sdk: Sdk, text: str) -> str:
    return (await sdk.files.create(file=(f"{text.split()[1]}.txt", text.encode()), purpose="assistants")).id


async def work_until_done(api: Api, waiting: asyncio.Task[Any]) -> None:
    while not waiting.done():
        await api.work()
        await asyncio.sleep(0.02)


async def test_many_files_are_uploaded_and_polled(sdk: Sdk, api: Api) -> None:
    """One of the files cannot be read."""
    store = (await sdk.vector_stores.create()).id
    early = await upload(sdk, LOCK)
    files = [(f"{number}.txt", b"Text number %d." % number) for number in range(10)]
    files.append(("broken.pdf", b"%PDF-1.7 broken"))
    polling = asyncio.create_task(sdk.vector_stores.file_batches.upload_and_poll(store, files=files, file_ids=[early]))
    await work_until_done(api, polling)
    batch = await polling
    assert (batch.object, batch.vector_store_id, batch.status) == ("vector_store.file_batch", store, "completed")
    assert batch.file_counts.model_dump() == {
        "in_progress": 0, "completed": 11, "failed": 1, "cancelled": 0, "total": 12,
    }  # fmt: skip
    assert (await sdk.vector_stores.retrieve(store)).file_counts.model_dump() == batch.file_counts.model_dump()
    polls = [path for path in sdk.paths if path.endswith(batch.id)]
    assert len(polls) <= 2, "a poll is held until the end"
    listing = sdk.vector_stores.file_batches.list_files(batch.id, vector_store_id=store, limit=7)
    assert len({file.id async for file in listing}) == 12
    [failed] = (await sdk.vector_stores.file_batches.list_files(batch.id, vector_store_id=store, filter="failed")).data
    assert failed.last_error


async def test_attributes_of_a_batch(sdk: Sdk) -> None:
    store = (await sdk.vector_stores.create()).id
    ids = [await upload(sdk, text) for text in (LOCK, GATES, WEIR)]
    files, batches = sdk.vector_stores.files, sdk.vector_stores.file_batches
    await files.create(store, file_id=ids[2], attributes={"old": True})
    batch = await batches.create(store, file_ids=ids[:2], attributes={"year": 1911})
    assert (batch.status, batch.file_counts.in_progress, batch.file_counts.total) == ("in_progress", 2, 2)
    await batches.create(store, files=[{"file_id": ids[0], "attributes": {"year": 1925}}, {"file_id": ids[2]}])
    found = {file.id: file.attributes async for file in files.list(store)}
    assert found == {ids[0]: {"year": 1925}, ids[1]: {"year": 1911}, ids[2]: {"old": True}}
    cancelled = await batches.cancel(batch.id, vector_store_id=store)
    assert cancelled == batch, "nothing is cancelled"
    listed = await batches.list_files(batch.id, vector_store_id=store, order="asc")
    assert [file.id for file in listed.data] == ids[:2]
    with pytest.raises(openai.BadRequestError):
        await batches.list_files(batch.id, vector_store_id=store, after=ids[2])


async def test_polls_of_a_batch_end(sdk: Sdk, api: Api, database_url: str) -> None:
    """Also if files are deleted or taken out meanwhile, and if nobody works for a day."""
    store = (await sdk.vector_stores.create()).id
    ids = [await upload(sdk, text) for text in (LOCK, GATES, WEIR)]
    batches = sdk.vector_stores.file_batches
    batch = await batches.create(store, file_ids=ids)
    polling = asyncio.create_task(batches.poll(batch.id, vector_store_id=store))
    await sdk.vector_stores.files.delete(ids[0], vector_store_id=store)
    await sdk.files.delete(ids[1])
    await work_until_done(api, polling)
    counts = (await polling).file_counts
    assert (counts.in_progress, counts.completed, counts.cancelled, counts.total) == (0, 1, 2, 3)
    stuck = await batches.create(store, file_ids=[ids[2], await upload(sdk, GATES)])
    await fetch(database_url, "UPDATE file_batches SET created_at = now() - interval '25 hours'")
    counts = (await batches.poll(stuck.id, vector_store_id=store)).file_counts
    assert (counts.in_progress, counts.completed, counts.failed) == (0, 1, 1)
    answer = await api.get(sdk.person, f"/v1/vector_stores/{store}/file_batches/{stuck.id}")
    assert "openai-poll-after-ms" not in answer.headers
    await sdk.vector_stores.delete(store)
    with pytest.raises(openai.NotFoundError):
        await batches.poll(batch.id, vector_store_id=store)


async def test_old_batches_are_deleted(sdk: Sdk, database_url: str) -> None:
    store = (await sdk.vector_stores.create()).id
    file_id = await upload(sdk, LOCK)
    batches = sdk.vector_stores.file_batches
    first = await batches.create(store, file_ids=[file_id])
    await fetch(
        database_url,
        """INSERT INTO file_batches (owner_id, id, collection_id, document_ids)
           SELECT owner_id, gen_random_uuid(), collection_id, '{}' FROM file_batches, generate_series(1, $1::int)""",
        file_batches.MAX_BATCHES - 1,
    )
    await batches.retrieve(first.id, vector_store_id=store)
    newest = await batches.create(store, file_ids=[file_id])
    [row] = await fetch(database_url, "SELECT count(*) AS left FROM file_batches")
    assert row["left"] == file_batches.MAX_BATCHES
    assert newest


REFUSED_BATCHES: list[tuple[dict[str, Any], str]] = [
    ({}, "file_ids"),
    ({"file_ids": ["{file}"], "files": [{"file_id": "{file}"}]}, "file_ids"),
    ({"file_ids": []}, "file_ids"),
    ({"file_ids": ["{file}"] * 2001}, "file_ids"),
    ({"files": [{"file_id": "{file}"}], "attributes": {"a": 1}}, "attributes"),
    ({"files": [{"file_id": "{file}", "chunking_strategy": {"type": "static"}}]}, "chunking_strategy"),
    ({"file_ids": ["{file}"], "chunking_strategy": {"type": "static"}}, "chunking_strategy"),
    ({"file_ids": ["{file}"], "surprise": 1}, "surprise"),
]


async def test_batches_that_cannot_be_made_are_refused(sdk: Sdk, api: Api) -> None:
    store, file_id = (await sdk.vector_stores.create()).id, await upload(sdk, LOCK)
    for body, field in REFUSED_BATCHES:
        url = f"/v1/vector_stores/{store}/file_batches"
        answer = await api.client.post(url, headers=sdk.person.headers, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field), (body, answer.text)
    for unknown in (str(new_id()), "file-abc"):
        with pytest.raises(openai.NotFoundError):
            await sdk.vector_stores.file_batches.create(store, file_ids=[file_id, unknown])
    assert (await sdk.vector_stores.files.list(store)).data == [], "nothing was stored"


async def test_keys_bound_to_another_store_see_no_batch(sdk: Sdk, api: Api) -> None:
    file_id = await upload(sdk, LOCK)
    stores = [(await sdk.vector_stores.create(file_ids=[file_id])).id for _ in range(2)]
    batches = [await sdk.vector_stores.file_batches.create(store, file_ids=[file_id]) for store in stores]
    draft = {"name": "bound", "collection_ids": stores[:1]}
    secret = (await api.client.post("/v1/api-keys", headers=sdk.person.headers, json=draft)).json()["secret"]
    async with Sdk(api, Person("", "", {"Authorization": f"Bearer {secret}"})) as bound:
        mine = bound.vector_stores.file_batches
        assert (await mine.retrieve(batches[0].id, vector_store_id=stores[0])).file_counts.total == 1
        assert (await mine.create(stores[0], file_ids=[file_id])).file_counts.total == 1
        for refused in (
            mine.retrieve(batches[1].id, vector_store_id=stores[1]),
            mine.retrieve(batches[1].id, vector_store_id=stores[0]),
            mine.create(stores[1], file_ids=[file_id]),
            mine.list_files(batches[1].id, vector_store_id=stores[1]),
            bound.vector_stores.search(stores[1], query="lock"),
        ):
            with pytest.raises(openai.NotFoundError):
                await refused


# --- search -----------------------------------------------------------------------------------------------------------


async def fill(sdk: Sdk, api: Api) -> tuple[str, dict[str, str]]:
    """Return a store with three files, and their ids by the river in their attributes."""
    ids = {river: await upload(sdk, text) for river, text in (("Ouse", LOCK), ("Foss", GATES), ("Wharfe", WEIR))}
    await upload(sdk, "The gauge of another store reads 9 metres.")
    store = (await sdk.vector_stores.create()).id
    years = dict(zip(ids, (1911, 1925, 1950), strict=True))
    await sdk.vector_stores.file_batches.create(
        store,
        files=[{"file_id": each, "attributes": {"river": river, "year": years[river]}} for river, each in ids.items()],
    )
    await api.work()
    return store, ids


async def test_search_finds_passages_with_their_places_and_attributes(sdk: Sdk, api: Api) -> None:
    store, ids = await fill(sdk, api)
    page = await sdk.vector_stores.search(store, query="At what gauge reading is the lock closed?")
    best = page.data[0]
    assert (best.file_id, best.filename, best.attributes) == (ids["Ouse"], "lock.txt", {"river": "Ouse", "year": 1911})
    assert [(part.type, part.text) for part in best.content] == [("text", LOCK)]
    assert best.model_extra == {"page": 1, "start": 0, "end": len(LOCK)}
    assert {found.file_id for found in page.data} <= set(ids.values()), "nothing of other stores"
    scores = [found.score for found in page.data]
    assert scores == sorted(scores, reverse=True)
    assert 1 >= scores[0] > 0.3
    raw = await api.client.post(
        f"/v1/vector_stores/{store}/search", headers=sdk.person.headers, json={"query": "lock", "rewrite_query": True}
    )
    shown = {key: raw.json()[key] for key in ("object", "search_query", "has_more", "next_page")}
    assert shown == {
        "object": "vector_store.search_results.page", "search_query": ["lock"], "has_more": False, "next_page": None,
    }  # fmt: skip


async def test_searches_are_restricted(sdk: Sdk, api: Api) -> None:
    store, ids = await fill(sdk, api)
    everything = await sdk.vector_stores.search(store, query="gauge", max_num_results=50)
    assert len(everything.data) == 3
    assert len((await sdk.vector_stores.search(store, query="gauge", max_num_results=1)).data) == 1
    threshold = (everything.data[0].score + everything.data[-1].score) / 2
    options: Any = {"ranker": "default-2024-11-15", "score_threshold": threshold}
    above = await sdk.vector_stores.search(store, query="gauge", ranking_options=options)
    assert above.data == [found for found in everything.data if found.score >= threshold]
    old: Any = {"type": "lt", "key": "year", "value": 1930}
    other: Any = {"type": "in", "key": "river", "value": ["Foss", "Wharfe"]}
    cases: list[tuple[Any, set[str]]] = [
        (old, {"Ouse", "Foss"}),
        (other, {"Foss", "Wharfe"}),
        ({"type": "and", "filters": [old, other]}, {"Foss"}),
        ({"type": "or", "filters": [old, {"type": "eq", "key": "river", "value": "Wharfe"}]}, set(ids)),
        ({"type": "eq", "key": "year", "value": "1911"}, set()),
    ]
    for filters, rivers in cases:
        found = await sdk.vector_stores.search(store, query="gauge", filters=filters)
        assert {result.file_id for result in found.data} == {ids[river] for river in rivers}, filters


async def test_several_queries_give_the_best_of_each_passage(sdk: Sdk, api: Api) -> None:
    store, _ = await fill(sdk, api)
    queries = ["At what gauge reading is the lock closed?", "What greases the hinges?"]
    alone = [(await sdk.vector_stores.search(store, query=query)).data for query in queries]
    together = await sdk.vector_stores.search(store, query=queries)
    best: dict[str, float] = {}
    for result in [*alone[0], *alone[1]]:
        best[result.file_id] = max(result.score, best.get(result.file_id, 0))
    assert {result.file_id: result.score for result in together.data} == pytest.approx(best)
    assert [result.score for result in together.data] == sorted(best.values(), reverse=True)
    assert {together.data[0].filename, together.data[1].filename} == {"lock.txt", "hinges.txt"}


REFUSED_SEARCHES: list[tuple[dict[str, Any], str]] = [
    ({"query": ""}, "query"),
    ({"query": "??"}, "query"),
    ({"query": []}, "query"),
    ({"query": ["a"] * 11}, "query"),
    ({"query": ["a", "\0"]}, "query"),
    ({"max_num_results": 51}, "max_num_results"),
    ({"max_num_results": 0}, "max_num_results"),
    ({"ranking_options": {"ranker": "mine"}}, "ranking_options.ranker"),
    ({"ranking_options": {"score_threshold": 1.5}}, "ranking_options.score_threshold"),
    ({"ranking_options": {"hybrid_search": {}}}, "ranking_options.hybrid_search"),
    ({"filters": {"type": "like", "key": "a", "value": "b"}}, "filters.op"),
    ({"filters": {"key": "a"}}, "filters"),
    ({"page": 2}, "page"),
]


async def test_searches_that_cannot_be_made_are_refused(sdk: Sdk, api: Api) -> None:
    store = (await sdk.vector_stores.create()).id
    for change, field in REFUSED_SEARCHES:
        body = {"query": "lock"} | change
        answer = await api.client.post(f"/v1/vector_stores/{store}/search", headers=sdk.person.headers, json=body)
        assert answer.status_code == 400, (change, answer.text)
        assert (answer.json()["error"]["param"] or "").startswith(field), (change, answer.text)
    for unknown in (str(new_id()), "vs_abc"):
        with pytest.raises(openai.NotFoundError):
            await sdk.vector_stores.search(unknown, query="lock")
