"""Searches of a selection return k passages of it, or all of them, in every mode, exactly and by index."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from pipeline.db.candidates import SearchBounds
from pipeline.db.filters import restrict
from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.filters import decode
from pipeline.types import Caller, SearchMode, Selection, new_id
from pipeline.use_cases.search import search
from tests.databases import Databases, fetch
from tests.integration.conftest import Api

pytestmark = pytest.mark.anyio

OWNER, COLLECTION = new_id(), new_id()
SOURCES, CHUNKS = 40, 8
"""Numbers of documents and notes, and of passages of each, one a page."""
IDS = [new_id() for _ in range(SOURCES)]
NOTES = range(35, SOURCES)
MEMBERS = range(0, SOURCES, 2)
BY_INDEX = SearchBounds(exact_search_rows=0, scan_rows=0, exact_words_rows=0, max_ranked=SOURCES * CHUNKS)
EXACT = SearchBounds()


async def fill(url: str) -> None:
    """Add documents and notes. Every passage has the word `boat`, and only those of the last sources have `heron`."""
    await fetch(url, "INSERT INTO users (id, email, password_hash) VALUES ($1, 'anna@example.org', '')", OWNER)
    await fetch(url, "INSERT INTO embedding_models VALUES ($1, 'active') ON CONFLICT DO NOTHING", PACKAGED_MODEL)
    await fetch(url, "INSERT INTO collections VALUES ($1, $2, 'even')", OWNER, COLLECTION)
    numbers = list(range(SOURCES))
    await fetch(
        url,
        """INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256, status, chunks, metadata)
           SELECT $1, id, 'file ' || n, 'text/plain', 1, sha256(n::text::bytea), 'ready', $4,
               jsonb_build_object('number', n)
           FROM unnest($2::uuid[], $3::integer[]) AS one(id, n) WHERE n < $5""",
        OWNER, IDS, numbers, CHUNKS, NOTES[0],
    )  # fmt: skip
    await fetch(
        url,
        """INSERT INTO notes (owner_id, id, title, body, status, chunks) SELECT $1, id, 'note', '', 'ready', $3
           FROM unnest($2::uuid[]) AS id""",
        OWNER, IDS[NOTES[0] :], CHUNKS,
    )  # fmt: skip
    for kind, start, end in (("document", 0, NOTES[0]), ("note", NOTES[0], SOURCES)):
        await fetch(
            url,
            f"""INSERT INTO collection_{kind}s (owner_id, collection_id, {kind}_id, attributes)
                SELECT $1, $2, id, jsonb_build_object('even', true)
                FROM unnest($3::uuid[], $4::integer[]) AS one(id, n) WHERE n % 2 = 0 AND n >= $5 AND n < $6""",
            OWNER, COLLECTION, IDS, numbers, start, end,
        )  # fmt: skip
        await fetch(
            url,
            f"""INSERT INTO chunks (owner_id, id, {kind}_id, ordinal, page, page_end, start, "end", text, lexemes)
                SELECT $1, gen_random_uuid(), id, p, p + 1, p + 1, n, p, n || ' ' || p + 1,
                    (CASE WHEN n >= 30 THEN 'boat heron' ELSE 'boat' END)::tsvector
                FROM unnest($2::uuid[], $3::integer[]) AS one(id, n), generate_series(0, $4 - 1) AS p
                WHERE n >= $5 AND n < $6""",
            OWNER, IDS, numbers, CHUNKS, start, end,
        )  # fmt: skip
    await fetch(
        url,
        """INSERT INTO vectors (owner_id, chunk_id, model, document_id, note_id, embedding)
           SELECT owner_id, id, $1, document_id, note_id,
               (SELECT array_agg(random() - 0.5)::vector::halfvec FROM generate_series(1, 384 + start - start))
           FROM chunks""",
        PACKAGED_MODEL,
    )
    await fetch(url, "INSERT INTO word_samples VALUES ($1, $2)", OWNER, SOURCES * CHUNKS)
    await fetch(url, "INSERT INTO word_shares VALUES ($1, 'boat', 1), ($1, 'heron', 0.25)", OWNER)
    await fetch(url, "ANALYZE chunks, vectors")


@pytest.fixture(scope="module")
def filled_url(databases: Databases) -> str:
    url = databases.clone()
    asyncio.run(fill(url))
    return url


@pytest.fixture
def database_url(databases: Databases, filled_url: str) -> str:
    return databases.clone(filled_url)


@dataclass(frozen=True)
class Case:
    """A selection, and which passages it keeps: by the number of the source, and the page."""

    selection: Selection
    keeps: Any


def compare(key: str, op: str, value: Any) -> dict[str, Any]:
    return {"key": key, "op": op, "value": value}


def choose(written: dict[str, Any], **others: Any) -> Selection:
    return Selection(filter=decode(written), **others)


CASES = {
    "half": Case(choose(compare("number", "lt", 20)), lambda n, _page: n < 20),
    "one document": Case(choose(compare("metadata.number", "eq", 3)), lambda n, _page: n == 3),
    "nothing": Case(choose(compare("number", "lt", 0)), lambda _n, _page: False),
    "notes": Case(choose(compare("filename", "eq", "note")), lambda n, _page: n in NOTES),
    "a page": Case(choose(compare("page", "eq", 3)), lambda _n, page: page == 3),
    "pages of some": Case(
        choose({"and": [compare("page", "gt", 6), compare("number", "in", [1, 2, 3])]}),
        lambda n, page: page > 6 and n in (1, 2, 3),
    ),
    "a page or a document": Case(
        choose({"or": [compare("page", "eq", 1), compare("number", "eq", 5)]}), lambda n, page: page == 1 or n == 5
    ),
    "collection": Case(Selection([COLLECTION]), lambda n, _page: n % 2 == 0),
    "attribute": Case(choose(compare("even", "ne", True)), lambda n, _page: n % 2 == 1),
    "page of a collection": Case(
        choose(compare("page", "eq", 2), collection_ids=[COLLECTION]), lambda n, page: page == 2 and n % 2 == 0
    ),
    "documents": Case(Selection(document_ids=IDS[:2] + IDS[38:]), lambda n, _page: n < 2),
    "documents with a filter": Case(choose(compare("number", "gte", 1), document_ids=IDS[:2]), lambda n, _page: n == 1),
    "empty list": Case(Selection(collection_ids=[]), lambda _n, _page: False),
}
QUERY = np.eye(1, 384, dtype=np.float32)[0] + 0.05


async def find(api: Api, selection: Selection, mode: SearchMode, limit: int, bounds: SearchBounds) -> list[str]:
    vector = None if mode == SearchMode.KEYWORD else QUERY
    wanted = PassageQuery(OWNER, mode, "heron boat", vector, PACKAGED_MODEL, limit, selection=selection, bounds=bounds)
    async with api.runtime.database.statement() as connection:
        return [passage.text for passage in await find_passages(connection, wanted)]


@pytest.mark.parametrize("name", CASES)
async def test_k_or_all(api: Api, name: str) -> None:
    """The rare word of the question is missing in most selections, which must not empty them."""
    case = CASES[name]
    kept = {f"{n} {page}" for n in range(SOURCES) for page in range(1, CHUNKS + 1) if case.keeps(n, page)}
    for mode in SearchMode:
        for limit in (7, 400):
            results = [await find(api, case.selection, mode, limit, bounds) for bounds in (EXACT, BY_INDEX)]
            for found in results:
                assert set(found) <= kept, (mode, limit)
                # A hybrid search has at most 100 candidates by vector and 100 by words.
                assert len(found) == min(limit, len(kept)) or (mode == SearchMode.HYBRID and len(found) >= 100), mode
            if mode == SearchMode.VECTOR:
                assert len(set(results[0]) & set(results[1])) >= 0.8 * len(results[0])


@pytest.mark.parametrize("exact_words_rows", [0, SOURCES * CHUNKS])
async def test_frequent_words_are_found_if_the_rare_ones_are_missing(api: Api, exact_words_rows: int) -> None:
    """So many passages are selected that only the rarest word, `heron`, would be looked for."""
    bounds = SearchBounds(max_ranked=100, max_matches=10, exact_words_rows=exact_words_rows)
    assert len(await find(api, CASES["half"].selection, SearchMode.KEYWORD, 7, bounds)) == 7


async def test_callers_bound_to_collections_find_only_these(api: Api) -> None:
    other = new_id()
    everything = {f"{n} {page}" for n in range(SOURCES) for page in range(1, CHUNKS + 1)}
    members = {text for text in everything if int(text.split()[0]) % 2 == 0}

    async def ask(bound_to: set[UUID] | None, selection: Selection) -> set[str]:
        caller = Caller(OWNER, collection_ids=None if bound_to is None else frozenset(bound_to))
        bounds = SearchBounds(max_matches=1000)
        found = await find(api, restrict(caller, selection), SearchMode.KEYWORD, 1000, bounds)
        passages = await search(api.runtime, caller, "boat", mode=SearchMode.KEYWORD, top_k=1000, selection=selection)
        assert {passage.text for passage in passages} == set(found)
        return set(found)

    assert await ask(None, Selection()) == everything
    assert await ask({COLLECTION}, Selection()) == members
    assert await ask({other}, Selection()) == set()
    assert await ask(set(), Selection()) == set()
    assert await ask({COLLECTION}, Selection([other])) == set()
    assert await ask({other}, Selection([COLLECTION])) == set()
    assert await ask({other}, Selection(document_ids=IDS)) == set()
    assert await ask({COLLECTION}, choose({"or": [compare("number", "eq", 1), compare("number", "eq", 2)]})) == {
        f"2 {page}" for page in range(1, CHUNKS + 1)
    }


@pytest.mark.parametrize("path", ["/v1/search", "/v1/ask"])
async def test_selections_over_http(api: Api, database_url: str, path: str) -> None:
    person = await api.register("bert")
    ids = [
        (await api.upload(person, f"The {one} sleeps in the barn.".encode())).json()["id"] for one in ("horse", "cow")
    ]
    await api.work()
    await fetch(database_url, "UPDATE documents SET metadata = '{\"legs\": 4}' WHERE id = $1", UUID(ids[1]))

    async def ask(**selection: Any) -> Any:
        body = {"query": "Where does the horse sleep?", **selection}
        return await api.client.post(path, headers=person.headers, json=body)

    for selection in ({"filter": compare("legs", "gt", 3)}, {"document_ids": ids[1:]}):
        assert [one["document_id"] for one in (await ask(**selection)).json()["passages"]] == ids[1:]
    assert (await ask(collection_ids=[str(new_id())])).json()["passages"] == []
    for refused, field in (
        ({"filter": {"and": [compare("legs", "gt", 3), compare("legs", "like", 3)]}}, "filter.and[1].op"),
        ({"filter": "legs > 3"}, "filter"),
        ({"filter": {"and": [{**compare("a", "eq", 1), "type": "eq"}]}}, "filter.and[0].type"),
        ({"collection_ids": ["no id"]}, "collection_ids[0]"),
        ({"filters": compare("legs", "gt", 3)}, "filters"),
    ):
        response = await ask(**refused)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
