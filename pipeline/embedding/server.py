"""The protocol of an embedding server: OpenAI's `POST /embeddings`, without the SDK, which takes a second to import."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from time import perf_counter

import httpx2
import msgspec
import numpy as np

from pipeline import metrics
from pipeline.embedding.model import explain_excess

NUMBER_BYTES = 32
"""Longest number of a vector in JSON, in bytes."""
LARGEST_DIMENSION_READ = 16_384
"""Largest dimension of a vector that is read. With NUMBER_BYTES it bounds the length of a response."""
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""Longest `Retry-After` that counts. A date counts as this."""
REFUSES_TEXTS = frozenset({400, 413, 422})
"""Statuses of servers whose limits a text or a batch exceeds."""
COULD_NOT_EMBED = frozenset({424, 500})
"""Statuses that a single text can cause, although the server works."""
IS_BUSY = frozenset({408, 425, 429})


class Fault(Enum):
    """What caused a failure."""

    SERVER = auto()
    """It cannot be reached, or it is slow or busy. The same request may succeed later."""
    SETTINGS = auto()
    """It refuses every request: the key, the path or the name of the model is wrong."""
    UNKNOWN = auto()
    """The server or the texts. The same request may succeed later."""
    TEXTS = auto()
    """It refuses these texts."""


class ServerFailure(Exception):
    """A request failed. The message completes "The embedding server …", and quotes neither texts nor the server."""

    def __init__(self, message: str, fault: Fault, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.fault = fault
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class EmbeddingServer:
    """How to reach a server, and what to expect of it."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    batch_size: int = 32
    """Maximum number of texts in a request."""
    concurrency: int = 8
    """Maximum number of requests at the same time."""
    timeout_seconds: float = 30.0
    """Time limit for a request."""


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Response(msgspec.Struct):
    data: list[_Vector]


class EmbeddingClient:
    """A connection pool to one server, for one model."""

    def __init__(self, server: EmbeddingServer, model: str, http: httpx2.AsyncClient) -> None:
        self.dimension: int | None = None
        """The dimension of the first vectors. Later ones must have the same."""
        self._server = server
        self._model = model
        self._http = http

    async def embed(self, texts: Sequence[str], timeout_seconds: float) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension), made by one request.

        Raises ServerFailure.
        """
        body = msgspec.json.encode({"model": self._model, "input": texts, "encoding_format": "float"})
        started = perf_counter()
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._post(body, len(texts))
            vectors = read_vectors(answer, len(texts), self.dimension)
        except (TimeoutError, httpx2.TimeoutException) as error:
            metrics.EMBEDDING_SERVER_FAILURES.inc()
            raise ServerFailure("takes too long", Fault.SERVER) from error
        except httpx2.HTTPError as error:
            metrics.EMBEDDING_SERVER_FAILURES.inc()
            raise ServerFailure("cannot be reached, or the connection was lost", Fault.SERVER) from error
        except ServerFailure:
            metrics.EMBEDDING_SERVER_FAILURES.inc()
            raise
        metrics.EMBEDDING_SERVER_SECONDS.observe(perf_counter() - started)
        self.dimension = vectors.shape[1]
        return vectors

    async def _post(self, body: bytes, texts: int) -> bytes:
        room = texts * LARGEST_DIMENSION_READ * NUMBER_BYTES
        answer = bytearray()
        async with self._http.stream("POST", "embeddings", content=body) as response:
            if response.status_code != httpx2.codes.OK:
                raise explain_status(response.status_code, response.headers.get("retry-after", ""))
            async for data in response.aiter_raw():
                answer += data
                if len(answer) > room:
                    raise ServerFailure("sends too long an answer", Fault.UNKNOWN)
        return bytes(answer)


@asynccontextmanager
async def connect(server: EmbeddingServer, model: str) -> AsyncIterator[EmbeddingClient]:
    """Open a connection pool. Connections are made on first use."""
    # We do not ask for compression. A compressed body could decode to any length.
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    if server.api_key:
        headers["Authorization"] = f"Bearer {server.api_key}"
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=server.concurrency)
    async with httpx2.AsyncClient(
        base_url=server.base_url, headers=headers, timeout=server.timeout_seconds, limits=limits
    ) as http:
        yield EmbeddingClient(server, model, http)


def explain_status(status: int, retry_after: str) -> ServerFailure:
    """Return the failure that a status other than 200 means."""
    if status in REFUSES_TEXTS:
        return ServerFailure(f"refuses the text (status {status}), which may be too long for the model", Fault.TEXTS)
    if status in COULD_NOT_EMBED:
        return ServerFailure(f"fails (status {status})", Fault.UNKNOWN)
    if status in IS_BUSY or status >= 500:
        return ServerFailure(f"is busy or failing (status {status})", Fault.SERVER, _read_retry_after(retry_after))
    return ServerFailure(f"refuses every request (status {status})", Fault.SETTINGS)


def _read_retry_after(value: str) -> float:
    """Return the seconds of a `Retry-After` header, at most 60."""
    if not value:
        return 0.0
    is_number = value.isascii() and value.isdecimal() and len(value) < 5
    return min(float(value), LONGEST_RETRY_AFTER_SECONDS) if is_number else LONGEST_RETRY_AFTER_SECONDS


def read_vectors(answer: bytes, count: int, dimension: int | None) -> np.ndarray:
    """Return the vectors of a response in the order of the texts, scaled to unit length, of shape (count, dimension).

    Raises ServerFailure if there is not one finite vector per text, each of this dimension (of any that can be stored,
    if it is None).
    """
    try:
        found = msgspec.json.decode(answer, type=_Response).data
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ServerFailure("does not answer with embeddings", Fault.UNKNOWN) from error
    found.sort(key=lambda vector: vector.index)
    if [vector.index for vector in found] != list(range(count)):
        raise ServerFailure("does not answer with one vector for each text", Fault.UNKNOWN)
    lengths = {len(vector.embedding) for vector in found}
    if len(lengths) > 1 or 0 in lengths or (dimension and lengths != {dimension}):
        raise ServerFailure("answers with vectors of another dimension", Fault.UNKNOWN)
    if excess := explain_excess(max(lengths, default=0)):
        raise ServerFailure(f"answers with {excess}", Fault.SETTINGS)
    vectors = np.array([vector.embedding for vector in found])
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise ServerFailure("answers with vectors that are zero or not finite", Fault.UNKNOWN)
    unit: np.ndarray = (vectors / norms).astype(np.float32)
    return unit
