"""Reranking and reading of files for other programs. Nothing is stored."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest

from pipeline.reranking.factory import make_reranker
from tests.integration.conftest import Api, Person
from tests.integration.test_reranking import make_settings
from tests.llm_server import LlmServer, run_llm_server
from tests.reranking_server import rerank

pytestmark = pytest.mark.anyio

BODY = {
    "model": "rerank",
    "query": "oak gates",
    "documents": [f"text {number}" for number in range(30)] + ["oak gates"],
}


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with run_llm_server() as server:
        server.behave = rerank
        yield server


@pytest.fixture
async def person(api: Api) -> Person:
    return await api.register()


@pytest.fixture
async def reranking(api: Api, server: LlmServer) -> AsyncIterator[Api]:
    reranker = make_reranker(make_settings(server))
    assert reranker
    api.app.state.runtime = replace(api.runtime, reranker=reranker)
    yield api
    await reranker.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_texts_are_ranked(reranking: Api, server: LlmServer, person: Person, version: str) -> None:
    answer = await reranking.client.post(f"/{version}/rerank", json=BODY, headers=person.headers)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert len(results) == 31
    assert len(server.calls) == 2, "in batches that the reranker can compare"
    assert results[0] == {"index": 30, "relevance_score": 0.2}
    assert all(0 <= result["relevance_score"] <= 1 for result in results)
    options = {"top_n": 1, "return_documents": True, "documents": [{"text": "oak"}, "ash"]}
    answer = await reranking.client.post(f"/{version}/rerank", json=BODY | options, headers=person.headers)
    assert answer.json()["results"] == [{"index": 0, "relevance_score": 0.1, "document": {"text": "oak"}}]


async def test_rankings_that_are_refused(reranking: Api, server: LlmServer, person: Person) -> None:
    changes: list[dict[str, object]] = [
        {"documents": []},
        {"top_n": 0},
        {"query": ""},
        {"max_tokens_per_doc": 3},
        {"documents": ["\0"]},
    ]
    for change in changes:
        answer = await reranking.client.post("/v2/rerank", json=BODY | change, headers=person.headers)
        assert answer.status_code == 400, change
    server.behave = lambda call: call.cut()
    answer = await reranking.client.post("/v2/rerank", json=BODY, headers=person.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")


async def test_without_a_reranker_there_is_no_ranking(api: Api, person: Person) -> None:
    answer = await api.client.post("/v2/rerank", json=BODY, headers=person.headers)
    assert answer.status_code == 404
    assert "RERANKER" in answer.json()["detail"]


async def process(
    api: Api, person: Person, content: bytes, name: str, media_type: str
) -> tuple[int, dict[str, object]]:
    headers = {**person.headers, "X-Filename": quote(name), "Content-Type": media_type}
    answer = await api.client.put("/process", content=content, headers=headers)
    return answer.status_code, answer.json()


async def test_file_is_read_and_not_stored(api: Api, person: Person) -> None:
    html = "<p>Die Schleuse ist zu.</p>".encode("utf-16-le")
    status, loaded = await process(api, person, html, "Müller 1.html", "text/html; charset=utf-16le")
    assert status == 200, loaded
    assert str(loaded["page_content"]).strip() == "Die Schleuse ist zu."
    assert loaded["metadata"] == {"source": "Müller 1.html", "media_type": "text/html", "pages": 1}
    assert (await api.get(person, "/v1/documents")).json()["items"] == []


async def test_files_that_cannot_be_read(api: Api, person: Person) -> None:
    status, problem = await process(api, person, b"<html></html>", "empty.html", "text/html")
    assert status == 422
    assert "No extractable text" in str(problem["detail"])
    status, problem = await process(api, person, b"%PDF-1.7 broken", "broken.pdf", "application/pdf")
    assert (status, problem["code"]) == (422, "malformed")
    status, problem = await process(api, person, b"\x89PNG\r\n\x1a\n\0\0", "image.png", "image/png")
    assert status == 415
    status, problem = await process(api, person, b"", "a.txt", "text/plain")
    assert status == 422
