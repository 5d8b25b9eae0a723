"""Answers of a server with the embeddings protocol of OpenAI, for `run_llm_server`."""

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from tests.llm_server import Call

DIMENSION = 48

Vectors = list[dict[str, Any]]


def make_vector(text: str) -> list[float]:
    """Return a vector that is similar for texts with the same words. Its length is not 1."""
    vector = [0.0] * DIMENSION
    for word in text.lower().replace(".", " ").split():
        vector[zlib.crc32(word.encode()) % DIMENSION] += 1.5
    return vector


def make_vectors(texts: Sequence[str]) -> Vectors:
    return [{"object": "embedding", "index": index, "embedding": make_vector(text)} for index, text in enumerate(texts)]


def embed(call: Call) -> None:
    """Embed all texts, and answer in another order than that of the texts."""
    answer(call, {"object": "list", "model": "a-model", "data": make_vectors(call.body["input"])[::-1]})


def answer(call: Call, body: object, status: int = 200, **headers: str) -> None:
    call.begin(status, Content_Type="application/json", Connection="close", **headers)
    call.send(body if isinstance(body, bytes) else json.dumps(body).encode())
    call.end()


def refuse(status: int, **headers: str) -> Callable[[Call], None]:
    """Return a behaviour that quotes the texts in its error, as servers do."""
    return lambda call: answer(call, {"error": {"message": f"No: {call.body['input']}"}}, status, **headers)


def answer_with(change: Callable[[Vectors], object]) -> Callable[[Call], None]:
    """Return a behaviour that changes correct vectors before it sends them."""

    def behave(call: Call) -> None:
        vectors = make_vectors(call.body["input"])
        changed = change(vectors)
        answer(call, changed if isinstance(changed, bytes) else {"data": changed})

    return behave
