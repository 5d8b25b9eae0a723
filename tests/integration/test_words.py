"""Searches by words, in several languages and scripts, with phrases and excluded words."""

import pytest

from tests.databases import fetch
from tests.integration.conftest import Api, Person

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
