"""`POST /v1/embeddings`: vectors of texts, in the format of OpenAI."""

import base64
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from litestar import Controller, post
from litestar.params import JSONBody

from api.auth import UserRequest, work_while_current
from api.controllers.openai.models import Model, find_model
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI
from api.http.body_deadlines import work_while_connected
from api.permissions import READS
from api.ratelimit import limit_queries
from pipeline.errors import FieldError, InvalidInput
from pipeline.use_cases import embeddings

MAX_TEXTS = 2048
"""Maximum number of texts in a request, as at OpenAI."""


class EmbeddingRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to embed."""

    model: str
    input: str | Annotated[list[Any], msgspec.Meta(max_length=MAX_TEXTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: Any = None


class Embedding(msgspec.Struct):
    """The vector of a text: numbers, or little-endian float32 numbers in base64."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingUsage(msgspec.Struct):
    """Tokens that the model has read, or 0 if they are unknown."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct):
    """The vectors in the order of the texts."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


class EmbeddingController(Controller):
    """Embeds texts. Nothing is stored."""

    path = "/v1/embeddings"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post("/", status_code=200, guards=[limit_queries], opt=READS)
    async def embed(
        self, request: UserRequest, data: JSONBody[EmbeddingRequest], runtime: RuntimeDependency
    ) -> EmbeddingList:
        """Return the vector of each text."""
        find_model([Model(runtime.encoder.model_name)], data.model)
        texts = _read_texts(data.input)
        embedding = embeddings.embed(runtime, request.user, texts)
        embedded = await work_while_connected(request, work_while_current(request, embedding))
        _require_dimension(data.dimensions, embedded.vectors.shape[1])
        write = _write_base64 if data.encoding_format == "base64" else _write_numbers
        vectors = [Embedding(index, write(vector)) for index, vector in enumerate(embedded.vectors)]
        return EmbeddingList(vectors, embedded.model, EmbeddingUsage(embedded.tokens, embedded.tokens))


def _read_texts(given: str | list[Any]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not texts:
        raise _refuse("is empty", "Send at least one text.")
    if not all(isinstance(text, str) for text in texts):
        advice = "Send texts. LangChain does so with `check_embedding_ctx_length=False`."
        raise _refuse("has something else than texts, such as tokens", advice)
    if not all(text and "\0" not in text for text in texts):
        raise _refuse("has an empty text, or one with a NUL", "Remove it.")
    return texts


def _refuse(problem: str, advice: str, field: str = "input") -> InvalidInput:
    return InvalidInput(f"`{field}` {problem}. {advice}", errors=(FieldError(field, problem),))


def _require_dimension(asked: int | None, dimension: int) -> None:
    if asked not in (None, dimension):
        raise _refuse("is not that of the model", f"Send {dimension}, or omit it.", "dimensions")


def _write_base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _write_numbers(vector: np.ndarray) -> list[float]:
    numbers: list[float] = vector.tolist()
    return numbers
