"""The routes in the format of OpenAI, with its SDK."""

import base64
from collections.abc import AsyncIterator

import numpy as np
import openai
import pytest

from pipeline.embedding.model import PACKAGED_MODEL
from tests.integration.conftest import Api, Person, make_transport

pytestmark = pytest.mark.anyio

LONG = "The lock keeper greases the hinges of the oak gates. " * 100


class Sdk(openai.AsyncOpenAI):
    """The SDK of OpenAI, with the application in this process as its server."""

    def __init__(self, api: Api, person: Person) -> None:
        self.person = person
        http = openai.DefaultAsyncHttpxClient(transport=make_transport(api.app))
        key = person.headers["Authorization"].removeprefix("Bearer ")
        super().__init__(base_url="http://test/v1", api_key=key, http_client=http, max_retries=0)


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
