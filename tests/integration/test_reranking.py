"""A reranking server that works or misbehaves."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from pydantic import HttpUrl, SecretStr

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.operations.doctor import Finding, Verdict, check_reranker
from pipeline.reranking.factory import make_reranker, make_scorer
from pipeline.reranking.reranker import Reranker
from pipeline.reranking.server import RerankingServer
from pipeline.settings import Settings
from pipeline.types import Caller, Passage, SearchMode, SubjectKind, new_id
from pipeline.use_cases.search import search
from tests.conftest import Logged
from tests.databases import fetch
from tests.embedding_server import answer
from tests.integration.conftest import Api, Person
from tests.llm_server import Behaviour, Call, LlmServer, run_llm_server
from tests.reranking_server import rerank

pytestmark = pytest.mark.anyio

KEY = "sk-a-secret-of-the-tests"
SECONDS = 0.2


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with run_llm_server() as server:
        server.behave = rerank
        yield server


def make_settings(server: LlmServer, model: str | None = None, seconds: float = 10) -> Settings:
    return Settings(
        _env_file=None,
        reranker=HttpUrl(f"{server.url}/rerank"),
        reranker_model=model,
        reranker_api_key=SecretStr(KEY),
        reranker_timeout_seconds=seconds,
    )


@pytest.fixture
async def reranker(server: LlmServer) -> AsyncIterator[Reranker]:
    reranker = make_reranker(make_settings(server))
    assert reranker
    yield reranker
    await reranker.close()


@pytest.fixture
async def impatient(server: LlmServer) -> AsyncIterator[Reranker]:
    reranker = make_reranker(make_settings(server, seconds=SECONDS))
    assert reranker
    yield reranker
    await reranker.close()


def make_passages(*texts: str) -> list[Passage]:
    return [
        Passage(new_id(), SubjectKind.DOCUMENT, new_id(), None, "a.txt", 1, 1, 0, len(text), text, score=3.0 - number)
        for number, text in enumerate(texts)
    ]


PASSAGES = make_passages("the gate", "the red boat", "a red boat sails", "a horse")
QUESTION = "red boat sails"


def list_texts(passages: Sequence[Passage]) -> list[str]:
    return [passage.text for passage in passages]


def find_lines(logged: Logged, event: str) -> Logged:
    return [line for line in logged if line["event"] == event]


def count(outcome: str) -> float:
    return REGISTRY.get_sample_value("sluice_reranked_searches_total", {"outcome": outcome}) or 0.0


@pytest.mark.parametrize("model", [None, "a-model"], ids=["TEI", "Cohere and Jina"])
async def test_passages_get_the_order_of_the_server(server: LlmServer, model: str | None) -> None:
    reranker = make_reranker(make_settings(server, model))
    assert reranker
    before = count("reranked")
    found = await reranker.rerank(QUESTION, PASSAGES)
    await reranker.close()
    assert list_texts(found) == ["a red boat sails", "the red boat", "the gate", "a horse"], (
        "equal ones keep their order"
    )
    assert [passage.score for passage in found] == [3.0, 2.0, 1.0, 0.0], "scores fall in the new order"
    [call] = server.calls
    assert (call.path, call.headers["Authorization"]) == ("/v1/rerank", f"Bearer {KEY}")
    texts = list_texts(PASSAGES)
    assert call.body == (
        {"model": model, "query": QUESTION, "documents": texts}
        if model
        else {"query": QUESTION, "texts": texts, "truncate": True}
    )
    assert count("reranked") == before + 1


async def test_only_the_best_passages_are_compared(reranker: Reranker, server: LlmServer) -> None:
    assert reranker.depth == 20
    passages = make_passages(*["the gate"] * 19, "the boat", *["red boat sails"] * 5)
    found = await reranker.rerank(QUESTION, passages)
    assert [one.id for one in found] == [one.id for one in (passages[19], *passages[:19], *passages[20:])]
    assert [one.score for one in found] == [one.score for one in passages]
    assert await reranker.rerank(QUESTION, passages[:1]) == passages[:1]
    assert await reranker.rerank(QUESTION, []) == []
    assert len(server.calls) == 1, "the order of one passage needs no server"


def refuse(status: int) -> Behaviour:
    """Return a behaviour that quotes the texts in its error, as servers do."""
    return lambda call: answer(call, {"error": f"No: {call.body['texts']} {call.headers['Authorization']}"}, status)


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (refuse(503), "is busy or failing (status 503)"),
        (refuse(429), "is busy or failing (status 429)"),
        (refuse(401), "refuses every request (status 401)"),
        (lambda call: answer(call, b"", 307, Location="/elsewhere"), "refuses every request (status 307)"),
        (Call.cut, "cannot be reached, or the connection was lost"),
        (lambda call: answer(call, b"<html>"), "does not answer with scores"),
        (lambda call: answer(call, [{"index": 0, "score": 1}]), "does not answer with one score for each text"),
    ],
    ids=["503", "429", "401", "moved", "cut", "HTML", "too few"],
)
async def test_failure_keeps_the_order_and_pauses_the_server(
    reranker: Reranker, server: LlmServer, behaviour: Behaviour, cause: str, logged: Logged
) -> None:
    server.behave = behaviour
    failed, paused = count("failed"), count("paused")
    assert await reranker.rerank(QUESTION, PASSAGES) == PASSAGES
    assert await reranker.rerank(QUESTION, PASSAGES) == PASSAGES
    assert len(server.calls) == 1
    assert (count("failed"), count("paused")) == (failed + 1, paused + 1)
    [line] = find_lines(logged, "reranker.unavailable")
    assert cause in line["cause"]
    assert KEY not in str(line)
    assert "boat" not in str(line)


async def test_refused_texts_do_not_pause_the_server(reranker: Reranker, server: LlmServer, logged: Logged) -> None:
    server.behave = refuse(413)
    assert await reranker.rerank(QUESTION, PASSAGES) == PASSAGES
    assert [line["cause"] for line in find_lines(logged, "reranker.refused_texts")] == [
        "refuses the texts (status 413)"
    ]
    server.behave = rerank
    assert await reranker.rerank(QUESTION, PASSAGES) != PASSAGES


@pytest.mark.parametrize("is_begun", [False, True], ids=["silent", "slow"])
async def test_late_scores_do_not_count(impatient: Reranker, server: LlmServer, logged: Logged, is_begun: bool) -> None:
    left = threading.Event()

    def be_late(call: Call) -> None:
        if is_begun:
            call.begin()
            call.send(b"[")
        call.wait_until_left()
        left.set()

    server.behave = be_late
    late = count("late")
    assert await impatient.rerank(QUESTION, PASSAGES) == PASSAGES
    assert count("late") == late + 1
    assert await asyncio.to_thread(left.wait, 10), "the request was cancelled"
    assert find_lines(logged, "reranker.unavailable")


async def test_too_long_an_answer_is_not_read(reranker: Reranker, server: LlmServer) -> None:
    def talk(call: Call) -> None:
        call.begin()
        with suppress(OSError):
            while True:
                call.send(b" " * 65_536)

    server.behave = talk
    failed = count("failed")
    assert await reranker.rerank(QUESTION, PASSAGES) == PASSAGES
    assert count("failed") == failed + 1


async def test_server_that_is_away_keeps_the_order() -> None:
    breaker = CircuitBreaker("reranker", metrics.RERANKER_FAILURES)
    reranker = Reranker(RerankingServer("http://127.0.0.1:1/rerank"), breaker, 10)
    assert await reranker.rerank(QUESTION, PASSAGES) == PASSAGES
    assert breaker.is_open
    await reranker.close()


async def test_searches_at_the_same_time_are_bounded(reranker: Reranker, server: LlmServer) -> None:
    running = most = 0

    def note(call: Call) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        rerank(call)

    server.behave = note
    found = await asyncio.gather(*(reranker.rerank(QUESTION, PASSAGES) for _ in range(20)))
    assert all(list_texts(passages)[0] == "a red boat sails" for passages in found)
    assert 1 < most <= 8


async def diagnose(server: LlmServer, seconds: float = 10) -> Finding:
    scorer = make_scorer(make_settings(server))
    assert scorer
    return await check_reranker(scorer, seconds)


async def test_doctor_says_whether_the_server_is_fast_enough(server: LlmServer) -> None:
    found = await diagnose(server)
    assert (found.part, found.verdict) == ("reranker", Verdict.OK)
    assert "s for 20 passages" in found.found
    assert [len(json.dumps(call.body["texts"])) > 25_000 for call in server.calls] == [True, True]
    slow = await diagnose(server, seconds=1e-9)
    assert slow.verdict == Verdict.WARNING
    assert "most searches are not reranked" in slow.found
    server.behave = refuse(401)
    failing = await diagnose(server)
    assert (failing.verdict, failing.found) == (Verdict.WARNING, "it refuses every request (status 401)")


async def search_twice(api: Api, person: Person, reranker: Reranker, mode: SearchMode) -> tuple[list[str], list[str]]:
    """Return the texts that a search finds without and with the reranker."""
    owner = UUID((await api.get(person, "/v1/users/me")).json()["id"])
    found = [
        list_texts(await search(runtime, Caller(owner), "the red boat sails", mode=mode, top_k=2))
        for runtime in (api.runtime, replace(api.runtime, reranker=reranker))
    ]
    return found[0], found[1]


async def test_search_reads_more_passages_than_it_returns(
    api: Api, reranker: Reranker, server: LlmServer, database_url: str
) -> None:
    def prefer_horses(call: Call) -> None:
        answer(call, [{"index": i, "score": float("horse" in text)} for i, text in enumerate(call.body["texts"])])

    server.behave = prefer_horses
    person, other = await api.register(), await api.register("bert")
    for number, text in enumerate(["The red boat sails.", "A red boat.", "The boat sails.", "A brown horse."]):
        await api.upload(person, text.encode(), f"{number}.txt")
    await api.upload(other, b"Another horse.", "horse.txt")
    await api.work()
    for mode in (SearchMode.HYBRID, SearchMode.VECTOR):
        without, reranked = await search_twice(api, person, reranker, mode)
        assert reranked == ["A brown horse.", without[0]], mode
        assert len(server.calls.pop().body["texts"]) == 4, "passages of others are not sent"
    without, reranked = await search_twice(api, person, reranker, SearchMode.KEYWORD)
    assert reranked == without
    assert server.calls == []
    audited = await fetch(
        database_url,
        "SELECT DISTINCT details ->> 'top_k' AS asked, details ->> 'passages' AS returned FROM audit_logs "
        "WHERE event_type = 'rag.query'",
    )
    assert [(row["asked"], row["returned"]) for row in audited] == [("2", "2")]
