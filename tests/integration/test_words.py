"""Searches by words, in several languages and scripts, with phrases and excluded words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from pipeline.ingest.heartbeat import Heartbeat
from pipeline.ingest.words import renew_outdated
from tests.conftest import Logged
from tests.databases import fetch
from tests.integration.conftest import Api, Person, wait_for
from tests.integration.test_search import write_pages
from workers.consumer import Consumer

pytestmark = pytest.mark.anyio

GERMAN = (
    "Die Kündigungen der Mieter und die Häuser der Vermieter sind in der Liste, und das ist für alle Häuser wichtig. "
    "Der Verwalter hat sie auf den neuen Stand gebracht, weil er das so wollte."
)
TEXTS = (
    GERMAN,
    "机器学习很重要，火车站在城市中心。",
    "電車は駅で止まります。",
    "대한민국의 수도는 서울이다.",
    "ประเทศไทยมีอาหารอร่อย",
    "Invoice RE-2026-00815 was paid by john.doe@example.com.",
    "Invoice RE-2026-00816 and the annual report of the board of directors.",
    "A report that is annual, by directors of another board, about pumps/valves and a re\u0301sume\u0301.",
)
QUESTIONS = (
    ("Kündigung Haus", 0),
    ("kundigung", 0),
    ("火车站在哪里", 1),
    ("学", 1),
    ("駅", 2),
    ("대한민국", 3),
    ("서울", 3),
    ("อาหาร", 4),
    ("invoice 00815", 5),
    ("815", 5),
    ("doe", 5),
    ("ｉｎｖｏｉｃｅ　００８１６", 6),
    ("valve", 7),
    ("résumé", 7),
)


async def find(api: Api, person: Person, query: str, **options: object) -> list[str]:
    body = {"query": query, "top_k": 20, **options}
    response = await api.client.post("/v1/search", headers=person.headers, json=body)
    return [passage["title"] for passage in response.json()["passages"]]


async def test_words_of_many_scripts(api: Api, database_url: str) -> None:
    person = await api.register()
    ids = [(await api.upload(person, text.encode(), f"{number}.txt")).json()["id"] for number, text in enumerate(TEXTS)]
    await api.work()
    assert [
        row["language"] for row in await fetch(database_url, "SELECT language FROM spoken_languages ORDER BY 1")
    ] == [
        "english",
        "german",
    ]
    for query, number in QUESTIONS:
        for scope in ({}, {"document_ids": ids}):
            assert (await find(api, person, query, mode="keyword", **scope))[:1] == [f"{number}.txt"], query

    for mode in ("keyword", "hybrid"):
        for scope in ({}, {"document_ids": ids}):
            for query, found in (
                ('"annual report"', {6}),
                ('pumps "annual reports"', {6}),
                ('"report annual"', set()),
                ('"boards of directors" invoice', {6}),
                ("invoice -doe", {6} if mode == "keyword" else set(range(8)) - {5}),
                ('report -"annual report"', {7} if mode == "keyword" else set(range(8)) - {6}),
                ('"火车站"', {1}),
            ):
                titles = await find(api, person, query, mode=mode, **scope)
                assert set(titles) == {f"{number}.txt" for number in found}, (query, mode, scope)


async def test_language_of_another_user_changes_nothing(api: Api) -> None:
    german, other = await api.register(), await api.register("bert")
    await api.upload(german, GERMAN.encode())
    await api.upload(other, "Kündigung".encode())
    await api.work()
    assert len(await find(api, german, "Kündigung", mode="keyword")) == 1
    assert await find(api, other, "Kündigungen", mode="keyword") == []


PROSE = "The keeper opens the gates of the lock at seven, and they are closed when the last boat has gone by. " * 9
HANDBOOK = write_pages([f"Handbook\n{name}\n\n{PROSE}" for name in ("Opening the Gates", "Repairs")])
WORDS = """SELECT document_id, note_id, ordinal, lexemes::text, heading_words, heading_weights, words_version
    FROM chunks ORDER BY document_id, note_id, ordinal"""
SPOKEN = "SELECT language FROM spoken_languages ORDER BY 1"
MAKE_OLD = """UPDATE chunks SET lexemes = to_tsvector('english', text), heading_words = NULL, heading_weights = NULL,
    words_version = CASE WHEN page = 1 THEN NULL ELSE 0 END"""
"""Give chunks the words of an earlier release: most have no version, some one that was raised since."""


async def store_old(api: Api, database_url: str) -> tuple[Person, list[Any]]:
    """Store two documents and a note, and give them old words. Return the words that the ingestion had made."""
    person = await api.register()
    await api.upload(person, HANDBOOK, "handbook.pdf")
    await api.upload(person, GERMAN.encode(), "german.txt")
    note = {"title": "Getränke", "body": GERMAN}
    await api.client.post("/v1/notes", headers=person.headers, json=note)
    await api.work()
    made = await fetch(database_url, WORDS)
    assert any(row["heading_words"] for row in made)
    for statement in (MAKE_OLD, "DELETE FROM spoken_languages"):
        await fetch(database_url, statement)
    assert not {row["lexemes"] for row in made} <= {row["lexemes"] for row in await fetch(database_url, WORDS)}
    return person, made


async def ignore() -> None:
    """Renew the next document at once."""


async def renew(api: Api) -> int:
    return await renew_outdated(api.runtime.database, "english", ignore)


@asynccontextmanager
async def pause_renewal(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Let renewals make words, but not store them, until the block ends."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM documents FOR UPDATE")
            await connection.execute("SELECT FROM notes FOR UPDATE")
            yield connection
    finally:
        await connection.close()


async def is_waiting(database_url: str) -> bool:
    """Return whether a statement in this database waits for a lock."""
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(await fetch(database_url, waiting))


async def store_old_handbook(api: Api, database_url: str) -> list[Any]:
    """Store one document, and give it old words. Return the words that the ingestion had made."""
    await store_old(api, database_url)
    for statement in ("DELETE FROM documents WHERE filename <> 'handbook.pdf'", "DELETE FROM notes"):
        await fetch(database_url, statement)
    old = await fetch(database_url, WORDS)
    assert await renew(api) == 1
    made = await fetch(database_url, WORDS)
    await fetch(database_url, MAKE_OLD)
    assert await fetch(database_url, WORDS) == old
    return made


async def test_idle_worker_renews_words_of_an_earlier_release(api: Api, database_url: str) -> None:
    person, made = await store_old(api, database_url)
    assert await find(api, person, "Kündigung getranke", mode="keyword") == []
    settings = api.runtime.settings
    heartbeat = Heartbeat(settings.sqlalchemy_url, lease_seconds=settings.lease_seconds, stall_seconds=60)
    heartbeat.start()
    consumer = Consumer(api.runtime, heartbeat)
    working = asyncio.create_task(consumer.run())

    async def is_renewed() -> bool:
        return await fetch(database_url, WORDS) == made

    await wait_for(is_renewed)
    consumer.stop()
    await working
    heartbeat.stop()
    assert sorted(await find(api, person, "Kündigung getranke", mode="keyword")) == ["Getränke", "german.txt"]
    assert [row["language"] for row in await fetch(database_url, SPOKEN)] == ["english", "german"]
    assert await renew(api) == 0, "nothing is left"


async def test_two_workers_do_not_renew_the_same_words_and_a_killed_one_loses_nothing(
    api: Api, database_url: str
) -> None:
    made = await store_old_handbook(api, database_url)
    old = await fetch(database_url, WORDS)
    async with pause_renewal(database_url):
        killed = asyncio.create_task(renew(api))
        await wait_for(lambda: is_waiting(database_url))
        assert await renew(api) == 0, "another worker does it"
        killed.cancel()
        await asyncio.wait((killed,))
    assert await fetch(database_url, WORDS) == old

    async def renews() -> bool:
        return await renew(api) == 1

    await wait_for(renews)  # when PostgreSQL has noticed the end of the killed one
    assert await fetch(database_url, WORDS) == made
    assert [row["language"] for row in await fetch(database_url, SPOKEN)] == ["english"]


async def test_documents_that_are_replaced_or_deleted_meanwhile_are_not_renewed(api: Api, database_url: str) -> None:
    made = await store_old_handbook(api, database_url)
    replace = ("DELETE FROM vectors", "UPDATE chunks SET id = gen_random_uuid(), lexemes = 'later'")
    for statements, lexemes in ((replace, {"'later'"}), (("DELETE FROM documents",), set())):
        async with pause_renewal(database_url) as connection:
            renewing = asyncio.create_task(renew(api))
            await wait_for(lambda: is_waiting(database_url))
            for statement in statements:
                await connection.execute(statement)
        assert await renewing == 0
        assert {row["lexemes"] for row in await fetch(database_url, WORDS)} == lexemes
        if lexemes:
            assert await renew(api) == 1
            assert await fetch(database_url, WORDS) == made
            await fetch(database_url, MAKE_OLD)


async def test_shares_of_renewed_words_are_sampled(api: Api, database_url: str) -> None:
    """If this many passages are renewed, a sample is certain."""
    person = await api.register()
    await api.upload(person, GERMAN.encode())
    await api.work()
    for statement in (
        """INSERT INTO chunks (owner_id, id, document_id, ordinal, page, page_end, start, "end", text, lexemes)
            SELECT owner_id, gen_random_uuid(), document_id, n, 1, 1, 0, 1, text, 'old'
            FROM chunks, generate_series(1, 125) AS n""",
        "UPDATE chunks SET words_version = NULL",
        "UPDATE documents SET chunks = 126",
        "DELETE FROM word_shares",
    ):
        await fetch(database_url, statement)
    assert await renew(api) == 1
    shares = "SELECT chunks, share FROM word_samples NATURAL JOIN word_shares WHERE word IN ('haus', 'old')"
    assert [tuple(row) for row in await fetch(database_url, shares)] == [(126, 1.0)]


async def test_text_whose_words_cannot_be_made_holds_up_no_other(api: Api, database_url: str, logged: Logged) -> None:
    person, made = await store_old(api, database_url)
    await api.upload(person, b"tlhIngan Hol", "short.txt")
    await api.work()
    await fetch(database_url, "UPDATE chunks SET words_version = 0 WHERE words_version IS NOT NULL")
    assert await renew_outdated(api.runtime.database, "klingon", ignore) == 3, "only the short text has this language"
    assert [row for row in await fetch(database_url, WORDS) if row["words_version"]] == made
    assert sum(line["event"] == "words.failed" for line in logged) == 1
