"""An embedding server that works, misbehaves, goes down and comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import HttpUrl, SecretStr

from pipeline.db import queue
from pipeline.embedding import factory
from pipeline.embedding.prompts import Prompts, Purpose
from pipeline.embedding.remote import PROBE, RemoteEncoder, RemoteWaits
from pipeline.embedding.server import EmbeddingServer
from pipeline.errors import IngestionError, ModelUnavailable
from pipeline.ingest.executor import ingest
from pipeline.operations import health
from pipeline.settings import Settings
from tests.conftest import Logged
from tests.databases import fetch
from tests.embedding_server import DIMENSION, answer_with, embed, make_vector, refuse
from tests.integration.conftest import Api, Person, claim_next, ignore_stage, wait_for
from tests.llm_server import Behaviour, Call, LlmServer, run_llm_server

pytestmark = pytest.mark.anyio

KEY = "sk-a-secret-of-the-tests"
WAITS = RemoteWaits(probe=0.05, first_pause=0.01, question=0.05, document=0.05)
PREFIX = {Purpose.QUERY: "query: ", Purpose.DOCUMENT: "passage: "}
PATIENT = RemoteWaits(probe=0.05, first_pause=0.01, question=30, document=30)


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with run_llm_server() as server:
        server.behave = embed
        yield server


def make_encoder(server: LlmServer, waits: RemoteWaits = WAITS, timeout_seconds: float = 10) -> RemoteEncoder:
    address = EmbeddingServer(server.url, KEY, batch_size=4, concurrency=2, timeout_seconds=timeout_seconds)
    return RemoteEncoder("a-model", address, Prompts("query: ", "passage: "), waits)


async def start(encoder: RemoteEncoder, server: LlmServer) -> RemoteEncoder:
    encoder.start()
    await encoder.wait()
    server.calls.clear()
    return encoder


@pytest.fixture
async def encoder(server: LlmServer) -> AsyncIterator[RemoteEncoder]:
    encoder = make_encoder(server)
    yield encoder
    encoder.close()


@pytest.fixture
async def ready(encoder: RemoteEncoder, server: LlmServer) -> RemoteEncoder:
    return await start(encoder, server)


def once(behaviour: Behaviour) -> Behaviour:
    """Return a behaviour that differs for the first call."""
    left = [behaviour]

    def behave(call: Call) -> None:
        (left.pop() if left else embed)(call)

    return behave


def unless(condition: Callable[[list[str]], bool], behaviour: Behaviour) -> Behaviour:
    """Return a behaviour that differs if the texts meet a condition."""
    return lambda call: (behaviour if condition(call.body["input"]) else embed)(call)


def be_slow(_call: Call) -> None:
    time.sleep(1.0)


async def test_batches_are_answered_in_order(ready: RemoteEncoder, server: LlmServer) -> None:
    texts = [f"text number {number}" for number in range(10)]
    vectors = await ready.encode(texts, Purpose.DOCUMENT)
    expected = np.array([make_vector(f"passage: {text}") for text in texts], np.float32)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert sorted(len(call.body["input"]) for call in server.calls) == [2, 4, 4]
    assert {(call.path, call.body["model"]) for call in server.calls} == {("/v1/embeddings", "a-model")}
    assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {KEY}"}
    [question] = await ready.encode(["text"], Purpose.QUERY)
    assert server.calls[-1].body["input"] == ["query: text"]
    assert np.linalg.norm(question) == pytest.approx(1)
    assert (await ready.encode([], Purpose.DOCUMENT)).shape == (0, DIMENSION)


@pytest.mark.parametrize(
    "behaviour",
    [refuse(503), refuse(429, Retry_After="0"), refuse(500), Call.cut, answer_with(lambda vectors: vectors[1:])],
    ids=["503", "429", "500", "cut", "too few"],
)
async def test_short_failures_are_not_noticed(server: LlmServer, behaviour: Behaviour) -> None:
    encoder = await start(make_encoder(server, PATIENT), server)
    server.behave = once(behaviour)
    assert len(await encoder.encode(["one", "two"], Purpose.DOCUMENT)) == 2
    assert len(server.calls) == 2
    assert encoder.is_ready
    encoder.close()


async def test_requests_at_the_same_time_are_bounded(ready: RemoteEncoder, server: LlmServer) -> None:
    running = most = 0

    def count(call: Call) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        embed(call)

    server.behave = count
    await asyncio.gather(*(ready.encode(["text"] * 8, Purpose.DOCUMENT) for _ in range(3)))
    assert most == 2


@pytest.mark.parametrize("retry_after", ["31", "99999", "Wed, 21 Oct 2099 07:28:00 GMT"])
@pytest.mark.parametrize("purpose", list(Purpose))
async def test_server_is_not_asked_before_its_retry_after(
    server: LlmServer, purpose: Purpose, retry_after: str
) -> None:
    encoder = await start(make_encoder(server, PATIENT), server)
    server.behave = refuse(429, Retry_After=retry_after)
    with pytest.raises(ModelUnavailable, match="busy"):
        await encoder.encode(["one"], purpose)
    assert [call.body["input"] for call in server.calls if call.body["input"] != [PROBE]] == [[f"{PREFIX[purpose]}one"]]
    encoder.close()


async def test_question_does_not_wait_as_long_as_passages(server: LlmServer) -> None:
    encoder = await start(make_encoder(server, replace(PATIENT, question=0)), server)
    server.behave = once(refuse(503))
    assert len(await encoder.encode(["one"], Purpose.DOCUMENT)) == 1
    server.behave = once(refuse(503))
    with pytest.raises(ModelUnavailable):
        await encoder.encode(["one"], Purpose.QUERY)
    encoder.close()


async def test_closing_ends_the_wait_for_another_try(server: LlmServer) -> None:
    encoder = await start(make_encoder(server, PATIENT), server)
    server.behave = refuse(503, Retry_After="1")
    waiting = asyncio.create_task(encoder.encode(["one"], Purpose.DOCUMENT))
    await wait_for(lambda: server.calls)
    encoder.close()
    with pytest.raises(ModelUnavailable, match="replaced"):
        await waiting


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (refuse(503), "is busy or failing"),
        (refuse(429), "is busy or failing"),
        (refuse(401), "refuses every request"),
        (refuse(404), "refuses every request"),
        (refuse(400), "refuses the text"),
        (Call.cut, "cannot be reached, or the connection was lost"),
        (answer_with(lambda _: b"<html>"), "does not answer with embeddings"),
    ],
    ids=["503", "429", "401", "404", "400", "cut", "html"],
)
async def test_outage_ends_by_itself(
    ready: RemoteEncoder, server: LlmServer, behaviour: Behaviour, message: str, logged: Logged
) -> None:
    server.behave = behaviour
    with pytest.raises(ModelUnavailable, match=message):
        await ready.encode(["the text of a user"], Purpose.DOCUMENT)
    assert (ready.is_ready, ready.is_interrupted, ready.has_failed) == (False, True, False)
    assert ready.is_unavailable
    with pytest.raises(ModelUnavailable, match=message):
        await ready.encode(["another text of a user"], Purpose.QUERY)
    server.behave = embed
    await ready.wait()
    assert len(await ready.encode(["one"], Purpose.QUERY)) == 1
    assert not ready.is_unavailable
    assert [event["event"] for event in logged] == ["embedding_server.unavailable", "embedding_server.available"]
    assert "of a user" not in str(logged)
    assert KEY not in str(logged) + repr(vars(ready))


async def test_slow_server_is_not_waited_for(server: LlmServer) -> None:
    encoder = await start(make_encoder(server, timeout_seconds=0.2), server)
    server.behave = unless(lambda texts: "passage: slow" in texts, be_slow)
    with pytest.raises(ModelUnavailable, match="takes too long"):
        await encoder.encode(["slow"], Purpose.DOCUMENT)
    await encoder.wait()
    encoder.close()


async def test_requests_that_wait_are_refused_when_the_server_becomes_unavailable(server: LlmServer) -> None:
    encoder = await start(make_encoder(server, replace(WAITS, probe=60), timeout_seconds=0.2), server)
    server.behave = be_slow
    waiting = [encoder.encode(["one"], Purpose.DOCUMENT) for _ in range(6)]
    assert {type(answer) for answer in await asyncio.gather(*waiting, return_exceptions=True)} == {ModelUnavailable}
    assert len(server.calls) == 2
    encoder.close()


async def test_question_does_not_wait_long_until_it_may_be_sent(ready: RemoteEncoder, server: LlmServer) -> None:
    server.behave = be_slow
    sent = [asyncio.create_task(ready.encode(["one"], Purpose.DOCUMENT)) for _ in range(2)]
    await wait_for(lambda: len(server.calls) == 2)
    with pytest.raises(ModelUnavailable, match="is busy with other requests"):
        await ready.encode(["two"], Purpose.QUERY)
    assert ready.is_ready
    for task in sent:
        task.cancel()


async def test_start_waits_for_the_server(encoder: RemoteEncoder, server: LlmServer) -> None:
    server.behave = refuse(401)
    encoder.start()
    await wait_for(lambda: len(server.calls) > 2)
    assert (encoder.is_ready, encoder.is_interrupted) == (False, False)
    server.behave = embed
    await encoder.wait()
    assert encoder.is_ready


@pytest.mark.parametrize(
    "behaviour",
    [
        refuse(413),
        refuse(500),
        answer_with(lambda vectors: [{**vector, "embedding": [None]} for vector in vectors]),
        answer_with(lambda vectors: [{**vector, "embedding": vector["embedding"][1:]} for vector in vectors]),
    ],
    ids=["413", "500", "null", "short"],
)
async def test_text_that_the_server_cannot_embed_fails_alone(
    ready: RemoteEncoder, server: LlmServer, behaviour: Behaviour
) -> None:
    server.behave = unless(lambda texts: any("bad" in text for text in texts), behaviour)
    with pytest.raises(IngestionError, match="The embedding server"):
        await ready.encode(["good", "good", "bad"], Purpose.DOCUMENT)
    assert ready.is_ready
    assert len(await ready.encode(["good"], Purpose.DOCUMENT)) == 1


async def test_batch_that_is_too_large_is_halved(ready: RemoteEncoder, server: LlmServer) -> None:
    server.behave = unless(lambda texts: len(texts) > 1, refuse(422))
    vectors = await ready.encode(["one", "two", "three"], Purpose.DOCUMENT)
    expected = [make_vector(f"passage: {text}") for text in ("one", "two", "three")]
    assert (vectors * expected).sum(axis=1) == pytest.approx(np.linalg.norm(expected, axis=1))


async def test_closing_answers_requests_that_were_sent(ready: RemoteEncoder, server: LlmServer) -> None:
    def take_a_moment(call: Call) -> None:
        time.sleep(0.1)
        embed(call)

    server.behave = take_a_moment
    sent = [asyncio.create_task(ready.encode(["one"], Purpose.QUERY)) for _ in range(3)]
    await wait_for(lambda: len(server.calls) == 2)
    ready.close()
    with pytest.raises(ModelUnavailable, match="replaced"):
        await ready.encode(["two"], Purpose.QUERY)
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert [type(each) for each in answers] == [np.ndarray, np.ndarray, ModelUnavailable]
    with pytest.raises(ModelUnavailable):
        await ready.wait()


class TestService:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"embedding_model": "a-model"})

    async def test_outage_lets_documents_wait(self, api: Api, server: LlmServer, database_url: str) -> None:
        person = await api.register()
        await api.upload(person, b"The horse sleeps in the barn.")
        await api.work()
        server.behave = refuse(503)
        found = await find(api, person, "hybrid")
        assert (found.status_code, found.json()["code"]) == (503, "model_unavailable")
        assert (await find(api, person, "vector")).status_code == 503
        [passage] = (await find(api, person, "keyword")).json()["passages"]
        assert passage["text"] == "The horse sleeps in the barn."
        checks = await health.check(api.runtime)
        assert (checks.embedding_model, checks.are_ready) == ("interrupted", True)

        uploaded = await api.upload(person, b"The heron sleeps in the reeds.", "b.txt")
        lease = await claim_next(api.runtime)
        await ingest(api.runtime, lease, ignore_stage)
        document = (await api.get(person, uploaded.headers["location"])).json()
        assert (document["status"], document["attempts"], document["error"]) == ("pending", 0, None)

        server.behave = embed
        await api.runtime.encoders.wait()
        await fetch(database_url, "UPDATE jobs SET available_at = now()")
        await api.work()
        document = (await api.get(person, uploaded.headers["location"])).json()
        assert (document["status"], document["attempts"], document["error"]) == ("ready", 1, None)
        assert len((await find(api, person, "hybrid")).json()["passages"]) == 2

    async def test_documents_wait_while_the_dimension_differs_from_that_of_stored_vectors(
        self, api: Api, database_url: str
    ) -> None:
        person = await api.register()
        await api.upload(person, b"The horse sleeps in the barn.")
        await api.work()
        await fetch(database_url, "UPDATE vectors SET embedding = halfvec('[1, 2, 3]')")
        uploaded = await api.upload(person, b"The heron sleeps in the reeds.", "b.txt")
        await ingest(api.runtime, await claim_next(api.runtime), ignore_stage)
        document = (await api.get(person, uploaded.headers["location"])).json()
        assert (document["status"], document["attempts"], document["error"]) == ("pending", 0, None)
        [job] = await fetch(database_url, "SELECT available_at > now() + interval '5 s' AS waits FROM jobs")
        assert job["waits"], "each attempt embeds the document again"
        for mode, status in (("hybrid", 503), ("vector", 503), ("keyword", 200)):
            assert (await find(api, person, mode)).status_code == status

    async def test_refused_text_fails_its_document_with_the_reason(
        self, api: Api, server: LlmServer, database_url: str
    ) -> None:
        person = await api.register()
        server.behave = unless(lambda texts: any("heron" in text for text in texts), refuse(413))
        uploaded = await api.upload(person, b"The heron sleeps in the reeds.")
        await api.upload(person, b"The horse sleeps in the barn.", "b.txt")
        for _ in range(queue.MAX_FAILURES):
            await api.work()
            await fetch(database_url, "UPDATE jobs SET available_at = now()")
        found = (await find(api, person, "hybrid")).json()["passages"]
        assert [passage["text"] for passage in found] == ["The horse sleeps in the barn."]
        document = (await api.get(person, uploaded.headers["location"])).json()
        assert (document["status"], document["error"]["code"]) == ("failed", "embedding_failed")
        assert "refuses the text (status 413)" in document["error"]["message"]


async def find(api: Api, person: Person, mode: str) -> Any:
    body = {"query": "sleeping in the barn", "mode": mode}
    return await api.client.post("/v1/search", headers=person.headers, json=body)


def test_models_in_this_process_and_on_a_server(settings: Settings) -> None:
    assert not factory.is_remote(settings, "a-model")
    there = settings.model_copy(
        update={"embedding_base_url": HttpUrl("http://127.0.0.1:1/v1"), "embedding_api_key": SecretStr(KEY)}
    )
    assert isinstance(factory.make_encoder(there, "a-model"), RemoteEncoder)
    assert not factory.is_remote(there, settings.embedding_model)
    assert not factory.is_remote(there, "tests")


async def test_dimension_is_asked_from_the_server(settings: Settings, server: LlmServer) -> None:
    there = settings.model_copy(update={"embedding_base_url": HttpUrl(server.url)})
    assert await factory.try_model(there, "a-model") == factory.UsableModel(
        DIMENSION, "the embedding server", Prompts()
    )
    server.behave = refuse(401)
    with pytest.raises(factory.ModelUnusable, match="refuses every request"):
        await factory.try_model(there, "a-model")
