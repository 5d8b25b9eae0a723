"""The routes in the format of OpenAI, with its SDK."""

import base64
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit

import numpy as np
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import FileSearchToolParam
from pydantic import HttpUrl

from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.settings import Settings
from tests.integration.conftest import Api, Person
from tests.integration.sdk import Sdk
from tests.llm_server import Call, LlmServer, run_llm_server

pytestmark = pytest.mark.anyio

LONG = "The lock keeper greases the hinges of the oak gates. " * 100


@pytest.fixture
async def sdk(api: Api) -> AsyncIterator[Sdk]:
    async with Sdk(api, await api.register()) as sdk:
        yield sdk


async def test_models_are_listed_and_found_by_name(sdk: Sdk) -> None:
    names = [model.id async for model in sdk.models.list()]
    assert names == ["sluice", PACKAGED_MODEL]
    assert (await sdk.models.retrieve("sluice")).object == "model"
    with pytest.raises(openai.NotFoundError, match="`sluice`"):
        await sdk.models.retrieve("gpt/4")


async def test_embeddings_are_those_of_the_model(sdk: Sdk, api: Api) -> None:
    texts = ["oak gates", "a red flag", LONG]
    found = await sdk.embeddings.create(model=PACKAGED_MODEL, input=texts)
    vectors = np.array([item.embedding for item in found.data], np.float32)
    assert [item.index for item in found.data] == [0, 1, 2]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    # Batches of another width round differently.
    assert np.allclose(
        vectors[0], (await sdk.embeddings.create(model=PACKAGED_MODEL, input=texts[0])).data[0].embedding, atol=0.02
    )
    assert found.usage.prompt_tokens > len(LONG.split()), "tokens of all windows are counted"
    body = {"model": PACKAGED_MODEL, "input": texts}
    answer = await api.client.post(
        "/v1/embeddings", json=body | {"encoding_format": "base64"}, headers=sdk.person.headers
    )
    raw = base64.b64decode(answer.json()["data"][1]["embedding"])
    assert np.allclose(np.frombuffer(raw, "<f4"), vectors[1], atol=0.02)
    plain = await api.client.post("/v1/embeddings", json=body, headers=sdk.person.headers)
    assert isinstance(plain.json()["data"][1]["embedding"], list), "numbers, unless base64 is asked for"


REFUSED_EMBEDDINGS: list[tuple[dict[str, object], int, str]] = [
    ({"model": "text-embedding-3-small"}, 404, PACKAGED_MODEL),
    ({"input": [[1, 2]]}, 400, "check_embedding_ctx_length=False"),
    ({"input": [1, 2]}, 400, "tokens"),
    ({"input": []}, 400, "empty"),
    ({"input": ["a", ""]}, 400, "empty"),
    ({"input": "\0"}, 400, "NUL"),
    ({"input": ["a"] * 2049}, 400, "2048"),
    ({"dimensions": 5}, 400, "384"),
    ({"encoding_format": "int8"}, 400, "int8"),
    ({"surprise": 1}, 400, "surprise"),
]


async def test_embeddings_that_cannot_be_made_are_refused(api: Api) -> None:
    person = await api.register()
    for change, status, word in REFUSED_EMBEDDINGS:
        body = {"model": PACKAGED_MODEL, "input": "a"} | change
        answer = await api.client.post("/v1/embeddings", json=body, headers=person.headers)
        assert (answer.status_code, answer.json()["status"]) == (status, status), change
        assert word in answer.text


TEXT = b"The lock is closed when the gauge reads more than 3.2 metres.\n\nThe hinges are greased with mutton tallow."
QUESTION = "At what gauge reading is the lock closed?"


@pytest.fixture
async def asked(sdk: Sdk, api: Api) -> Sdk:
    """An SDK of an account with a document."""
    assert (await api.upload(sdk.person, TEXT, "lock.txt")).status_code == 202
    await api.work()
    return sdk


def ask(question: str = QUESTION) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]


async def test_chat_answers_with_citations(asked: Sdk) -> None:
    completion = await asked.chat.completions.create(model="sluice", messages=ask(), temperature=0.1, max_tokens=50)
    [choice] = completion.choices
    content, annotations = choice.message.content, choice.message.annotations
    assert content
    assert annotations
    assert choice.finish_reason == "stop"
    citation = annotations[0].url_citation
    assert "3.2 metres" in content
    assert content[citation.start_index : citation.end_index] == "[1]"
    assert citation.title == "lock.txt"
    link = urlsplit(citation.url)
    assert (link.scheme, link.netloc) == ("http", "test")
    assert {"document", "page", "start", "end"} == parse_qs(link.fragment).keys()
    assert completion.usage
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0


async def test_chat_with_a_collection(asked: Sdk, api: Api) -> None:
    created = await api.client.post("/v1/collections", json={"name": "Locks / 1"}, headers=asked.person.headers)
    model = (await asked.models.retrieve("sluice/Locks / 1")).id
    assert model in [model.id async for model in asked.models.list()]
    empty = await asked.chat.completions.create(model=model, messages=ask())
    assert empty.choices[0].message.annotations == [], "the document is not in the collection"
    [document] = (await api.get(asked.person, "/v1/documents")).json()["items"]
    member = f"/v1/collections/{created.json()['id']}/documents/{document['id']}"
    await api.client.put(member, json={}, headers=asked.person.headers)
    found = await asked.chat.completions.create(model=model, messages=ask())
    assert "3.2 metres" in (found.choices[0].message.content or "")
    async with Sdk(api, await api.register("berta")) as stranger:
        with pytest.raises(openai.NotFoundError):
            await stranger.chat.completions.create(model=model, messages=ask())
        with pytest.raises(openai.NotFoundError):
            await stranger.models.retrieve(model)


async def test_chat_is_streamed_in_the_order_that_clients_need(asked: Sdk) -> None:
    whole = await asked.chat.completions.create(model="sluice", messages=ask())
    stream = await asked.chat.completions.create(
        model="sluice", messages=ask(), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert len({chunk.id for chunk in chunks}) == 1
    *deltas, last, usage = chunks
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert (last.choices[0].delta.model_dump(exclude_none=True), last.choices[0].finish_reason) == ({}, "stop")
    assert deltas[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in deltas) == whole.choices[0].message.content
    [annotations] = [
        found for chunk in deltas if (found := (chunk.choices[0].delta.model_extra or {}).get("annotations"))
    ]
    assert annotations == [one.model_dump() for one in whole.choices[0].message.annotations or ()]
    assert (deltas[-1].choices[0].delta.model_extra or {})["annotations"], "before the last chunk"


async def test_chat_says_that_nothing_was_found(sdk: Sdk) -> None:
    completion = await sdk.chat.completions.create(model="sluice", messages=ask())
    assert completion.choices[0].message.content == "The documents do not answer this question."
    assert completion.choices[0].message.annotations == []


IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}
REFUSED_CHATS: list[tuple[dict[str, object], int, str]] = [
    ({"model": "gpt-5"}, 404, "sluice"),
    ({"n": 2}, 400, "n"),
    ({"tools": [{"type": "function"}]}, 400, "tools"),
    ({"tool_choice": "required"}, 400, "tool_choice"),
    ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ({"logprobs": True}, 400, "logprobs"),
    ({"web_search_options": {}}, 400, "web_search_options"),
    ({"messages": []}, 400, "messages"),
    ({"messages": [{"role": "assistant", "content": "Yes."}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": "??"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": "a\0"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": "a" * 4001}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": [IMAGE]}]}, 400, "messages"),
    ({"messages": [{"role": "tool", "content": "a"}, {"role": "user", "content": "a"}]}, 400, "messages"),
    ({"thinking": True}, 400, "thinking"),
]


async def test_chats_that_cannot_be_answered_are_refused(api: Api) -> None:
    person = await api.register()
    for change, status, field in REFUSED_CHATS:
        body = {"model": "sluice", "messages": ask()} | change
        answer = await api.client.post("/v1/chat/completions", json=body, headers=person.headers)
        assert answer.status_code == status, (change, answer.text)
        assert field in answer.text


class TestWithLanguageModel:
    """A language model that writes what the tests tell it to."""

    @pytest.fixture
    def llm(self) -> Iterator[LlmServer]:
        with run_llm_server() as server:
            yield server

    @pytest.fixture
    def settings(self, settings: Settings, llm: LlmServer) -> Settings:
        given = {
            "llm_base_url": HttpUrl(llm.url),
            "llm_model": "a-model",
            "public_url": HttpUrl("https://sluice.example"),
        }
        return settings.model_copy(update=given)

    @pytest.fixture
    def conversation(self) -> list[ChatCompletionMessageParam]:
        return [
            {"role": "system", "content": "Answer like a sailor."},
            {"role": "user", "content": "When is the lock closed?"},
            {"role": "assistant", "content": "At high water."},
            {"role": "user", "content": [{"type": "text", "text": "And how high?"}]},
        ]

    async def test_history_becomes_one_question(
        self, asked: Sdk, llm: LlmServer, conversation: list[ChatCompletionMessageParam]
    ) -> None:
        def write(call: Call) -> None:
            call.begin()
            call.say(QUESTION if len(llm.calls) == 1 else "Above 3.2 metres [1].")
            call.finish()

        llm.behave = write
        completion = await asked.chat.completions.create(model="sluice", messages=conversation)
        condensing, answering = llm.calls
        assert '"At high water."' in condensing.prompt
        assert condensing.prompt.endswith("Last question: And how high?")
        assert answering.prompt.endswith(f"Question: {QUESTION}")
        assert answering.body["messages"][0]["content"].endswith("Answer like a sailor.")
        annotations = completion.choices[0].message.annotations
        assert annotations
        assert annotations[0].url_citation.url.startswith("https://sluice.example/#document=")

    async def test_history_of_a_question_is_condensed_too(self, asked: Sdk, api: Api, llm: LlmServer) -> None:
        body = {"question": "And why?", "history": [{"role": "user", "content": "Is the lock closed?"}]}

        def say_nothing(call: Call) -> None:
            call.begin()
            call.say(" \n")
            call.finish()

        llm.behave = say_nothing
        answer = await api.client.post("/v1/ask", json=body, headers=asked.person.headers)
        assert answer.status_code == 503, "an empty answer"
        condensing, answering = llm.calls
        assert '"Is the lock closed?"' in condensing.prompt
        assert answering.prompt.endswith("Question: And why?"), "the model has written no question"

    async def test_failures_are_errors_of_the_sdk(self, asked: Sdk, llm: LlmServer) -> None:
        def break_off(call: Call) -> None:
            call.begin()
            call.say("It is ")
            call.cut()

        llm.behave = break_off
        stream = await asked.chat.completions.create(model="sluice", messages=ask(), stream=True)
        with pytest.raises(openai.APIError, match="connection was lost"):
            [chunk async for chunk in stream]
        with pytest.raises(openai.InternalServerError) as caught:
            await asked.chat.completions.create(model="sluice", messages=ask(), stream=True)
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"]


async def make_collection(api: Api, person: Person, **attributes: object) -> str:
    """Put the first document into a collection. Return its id."""
    created = await api.client.post("/v1/collections", json={"name": "locks"}, headers=person.headers)
    [document] = (await api.get(person, "/v1/documents")).json()["items"]
    member = f"/v1/collections/{created.json()['id']}/documents/{document['id']}"
    put = await api.client.put(member, json={"attributes": attributes}, headers=person.headers)
    assert put.status_code == 200, put.text
    return str(created.json()["id"])


ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
    "response.file_search_call.completed",
    "response.output_item.done",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.annotation.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


async def test_response_cites_files_of_a_collection(asked: Sdk, api: Api) -> None:
    collection = await make_collection(api, asked.person, year=2026)
    tool: FileSearchToolParam = {"type": "file_search", "vector_store_ids": [collection], "max_num_results": 3}
    response = await asked.responses.create(
        model="sluice", input=QUESTION, tools=[tool], include=["file_search_call.results"]
    )
    assert response.status == "completed"
    assert "3.2 metres" in response.output_text
    search, message = response.output
    assert search.type == "file_search_call"
    assert search.queries == [QUESTION]
    assert search.results
    assert search.results[0].filename == "lock.txt"
    assert search.results[0].attributes == {"year": 2026}
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    citation = part.annotations[0]
    assert citation.type == "file_citation"
    assert (citation.file_id, citation.filename) == (search.results[0].file_id, "lock.txt")
    assert part.text[citation.index :].startswith("[1]")
    filtered = tool | {"filters": {"type": "eq", "key": "year", "value": 2025}}
    strict = tool | {"ranking_options": {"score_threshold": 1.0}}
    for restricted in (filtered, strict):
        other = await asked.responses.create(model="sluice", input=QUESTION, tools=[restricted])
        assert other.output_text == "The documents do not answer this question."
        assert other.output[0].model_dump()["results"] is None, "only if they are asked for"


async def test_attributes_are_those_in_the_first_collection_that_has_the_file(asked: Sdk, api: Api) -> None:
    empty = await api.client.post("/v1/collections", json={"name": "empty"}, headers=asked.person.headers)
    stores = [empty.json()["id"], await make_collection(api, asked.person, place="Naburn")]
    later = await asked.vector_stores.create()
    [file] = (await asked.files.list()).data
    await asked.vector_stores.files.create(later.id, file_id=file.id, attributes={"place": "Skelton"})
    stores.append(later.id)
    tool: FileSearchToolParam = {"type": "file_search", "vector_store_ids": stores}
    for tools, attributes in (([tool], {"place": "Naburn"}), ([], None)):
        response = await asked.responses.create(
            model="sluice", input=QUESTION, tools=tools, include=["file_search_call.results"]
        )
        search = response.output[0]
        assert search.type == "file_search_call"
        assert [found.attributes for found in search.results or ()] == [attributes]


async def test_response_is_streamed_in_order(asked: Sdk) -> None:
    async with asked.responses.stream(model="sluice", input=QUESTION) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert [kind for place, kind in enumerate(kinds) if kind != kinds[place - 1] or not place] == ORDER
    assert "3.2 metres" in final.output_text


REFUSED_RESPONSES: list[tuple[dict[str, object], int, str]] = [
    ({"model": "gpt-5"}, 404, "sluice"),
    ({"tools": [{"type": "web_search"}]}, 400, "tools"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, 404, "vector_store_ids"),
    ({"tools": [{"type": "file_search", "filters": {"type": "like", "key": "a", "value": "b"}}]}, 400, "filters"),
    ({"tools": [{"type": "file_search", "ranking_options": {"ranker": "mine"}}]}, 400, "ranker"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"] * 101}]}, 400, "vector_store_ids"),
    ({"previous_response_id": "resp_1"}, 400, "previous_response_id"),
    ({"background": True}, 400, "background"),
    ({"include": ["reasoning.encrypted_content"]}, 400, "include"),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, 400, "input"),
]


async def test_responses_that_cannot_be_made_are_refused(api: Api) -> None:
    person = await api.register()
    for change, status, field in REFUSED_RESPONSES:
        body = {"model": "sluice", "input": QUESTION} | change
        answer = await api.client.post("/v1/responses", json=body, headers=person.headers)
        assert answer.status_code == status, (change, answer.text)
        assert field in answer.text
