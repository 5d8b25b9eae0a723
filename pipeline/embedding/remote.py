"""An encoder whose model runs on an OpenAI-compatible server, such as TEI, vLLM or a hosted one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import uniform
from time import monotonic

import numpy as np

from pipeline import metrics
from pipeline.embedding.prompts import NO_PROMPTS, Prompts, Purpose
from pipeline.embedding.server import EmbeddingClient, EmbeddingServer, Fault, ServerFailure, connect
from pipeline.embedding.windows import Window
from pipeline.errors import FailureCode, IngestionError, ModelUnavailable
from pipeline.logs import get_logger

PROBE = "Are you there?"
LONGEST_PAUSE_SECONDS = 5.0
"""Longest pause between two tries, unless the server asks for more."""

log = get_logger()


@dataclass(frozen=True)
class RemoteWaits:
    """Times in seconds. Tests shorten them."""

    probe: float = 2.0
    """Between two looks whether the server answers again."""
    first_pause: float = 0.1
    """Before the second try. Each further pause is twice as long."""
    question: float = 5.0
    """Time after which no further try is made for a question, and for which it waits until a request may be sent."""
    question_request: float = 10.0
    """Time limit for a request for a question, if that of the server is longer."""
    document: float = 45.0
    """Time after which no further try is made for passages. With the last request, it is less than the time after which
    a job counts as stuck."""


class RemoteEncoder:
    """Embeds texts by requests to a server. It has no thread and no model of its own.

    If the server fails for longer than the tries of a request, the encoder is not ready until a probe succeeds.
    """

    def __init__(
        self,
        model_name: str,
        server: EmbeddingServer,
        prompts: Prompts = NO_PROMPTS,
        waits: RemoteWaits | None = None,
    ) -> None:
        self.model_name = model_name
        self._server = server
        self._prompts = prompts
        self._waits = waits or RemoteWaits()
        self._client: EmbeddingClient
        self._slots = asyncio.Semaphore(server.concurrency)
        self._available = asyncio.Event()
        self._closing = asyncio.Event()
        self._was_ready = False
        self._complaint = ""
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to look for the server, unless already started. It is called on the event loop."""
        if self._watching is None and not self._closing.is_set():
            self._watching = asyncio.create_task(self._watch())

    @property
    def is_ready(self) -> bool:
        """True if the server has answered, and has not failed since."""
        return self._available.is_set() and not self._closing.is_set()

    @property
    def is_interrupted(self) -> bool:
        """True if the server has answered before, but has failed since."""
        return self._was_ready and not self._available.is_set()

    @property
    def is_unavailable(self) -> bool:
        """True if the server has failed since it last answered."""
        return bool(self._complaint)

    @property
    def identity(self) -> None:
        """None, because the server shares its work itself."""
        return None

    @property
    def has_failed(self) -> bool:
        """True if the task that watches the server has ended by a programming error."""
        return self._watching is not None and self._watching.done() and not self._closing.is_set()

    async def wait(self) -> None:
        """Return when the server answers.

        Raises ModelUnavailable if the encoder is closed first.
        """
        await self._available.wait()
        self._require_open()

    async def encode(self, texts: Sequence[str], purpose: Purpose) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension), made with the prompt of this purpose.

        Failed requests are repeated for a few seconds for a question, and for most of a minute for passages.
        Raises ModelUnavailable if the server cannot be used, IngestionError if it embeds other texts but not these.
        """
        self._require_ready()
        prepared, size = self._prompts.prepend(texts, purpose), self._server.batch_size
        batches = [prepared[start : start + size] for start in range(0, len(prepared), size)]
        tasks = [asyncio.create_task(self._encode_batch(batch, purpose)) for batch in batches]
        try:
            with metrics.ENCODER_WAITING.track_inprogress():
                vectors = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return np.concatenate(vectors) if vectors else np.empty((0, self._client.dimension or 0), np.float32)

    async def cut(self, texts: Sequence[str], heading: str) -> list[list[Window]]:  # noqa: ARG002 - as all encoders
        """Return each text as its only window, because the tokens of the server's model are unknown."""
        return [[Window(text)] for text in texts]

    def close(self) -> None:
        """Refuse new requests. Requests that have been sent are still answered, and the connections are then closed."""
        self._closing.set()
        self._available.set()  # ends the calls of `wait`

    def _require_open(self) -> None:
        if self._closing.is_set():
            raise ModelUnavailable("The embedding model has been replaced. Try again.")

    def _require_ready(self) -> None:
        self._require_open()
        if not self._available.is_set():
            raise make_unavailable(self._complaint or "has not answered yet")

    async def _watch(self) -> None:
        """Probe the server until it answers, and again after each failure. Close the connections at the end."""
        async with connect(self._server, self.model_name) as self._client:
            while not self._closing.is_set():
                failure = None if self.is_ready else await self._probe()
                pause = max(self._waits.probe, failure.retry_after_seconds if failure else 0.0)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._closing.wait()
            for _ in range(self._server.concurrency):
                await self._slots.acquire()  # the last requests have been answered
        for _ in range(self._server.concurrency):
            self._slots.release()  # requests that wait for a slot are refused

    async def _probe(self) -> ServerFailure | None:
        """Embed a short text. Return None if that succeeds."""
        try:
            await self._client.embed([PROBE], self._server.timeout_seconds)
        except ServerFailure as failure:
            self._mark_unavailable(failure)
            return failure
        self._mark_available()
        return None

    def _mark_available(self) -> None:
        if not self._available.is_set():
            log.info("embedding_server.available", model=self.model_name, dimension=self._client.dimension)
        self._was_ready, self._complaint = True, ""
        self._available.set()

    def _mark_unavailable(self, failure: ServerFailure) -> None:
        if self._closing.is_set():
            return
        if self._complaint != str(failure):
            cause = type(failure.__cause__).__name__ if failure.__cause__ else None
            log.warning("embedding_server.unavailable", model=self.model_name, problem=str(failure), cause=cause)
        self._complaint = str(failure)
        self._available.clear()

    async def _encode_batch(self, texts: Sequence[str], purpose: Purpose) -> np.ndarray:
        """Embed a batch. If the server refuses it, embed each half: it may be too large, or one of its texts too long.

        Raises ModelUnavailable, IngestionError.
        """
        try:
            return await self._try_often(texts, purpose)
        except ServerFailure as failure:
            if failure.fault != Fault.TEXTS or len(texts) == 1:
                raise await self._judge(failure) from failure
        middle = len(texts) // 2
        halves = [await self._encode_batch(half, purpose) for half in (texts[:middle], texts[middle:])]
        return np.concatenate(halves)

    async def _try_often(self, texts: Sequence[str], purpose: Purpose) -> np.ndarray:
        """Send a request until it succeeds, fails for good, or the time for it is over.

        Raises ServerFailure, and ModelUnavailable if the server has become unavailable meanwhile.
        """
        patience, limit = self._waits.document, self._server.timeout_seconds
        if purpose == Purpose.QUERY:
            patience, limit = self._waits.question, min(limit, self._waits.question_request)
        ends_at, pause = monotonic() + patience, self._waits.first_pause
        while True:
            try:
                async with self._take_slot(ends_at if purpose == Purpose.QUERY else None):
                    self._require_ready()
                    vectors = await self._client.embed(texts, limit)
            except ServerFailure as failure:
                wait = max(uniform(0.5, 1.0) * pause, failure.retry_after_seconds)  # noqa: S311 - not a secret
                if failure.fault not in (Fault.SERVER, Fault.UNKNOWN) or monotonic() + wait > ends_at:
                    raise
            else:
                self._mark_available()
                return vectors
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    @asynccontextmanager
    async def _take_slot(self, until: float | None) -> AsyncIterator[None]:
        """Wait until a request may be sent. With `until`, wait no longer than that: it is compared with `monotonic`.

        Raises ModelUnavailable if the time is over first.
        """
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - monotonic())):
                await self._slots.acquire()
        except TimeoutError as error:
            raise make_unavailable("is busy with other requests") from error
        try:
            yield
        finally:
            self._slots.release()

    async def _judge(self, failure: ServerFailure) -> ModelUnavailable | IngestionError:
        """Return the error for the caller. The texts are at fault only if the server embeds another one."""
        is_suspicious = failure.fault in (Fault.TEXTS, Fault.UNKNOWN)
        if is_suspicious and await self._answers_probe():
            message = f"The embedding server {failure}. Ask your operator."
            return IngestionError(FailureCode.EMBEDDING_FAILED, message)
        self._mark_unavailable(failure)
        return make_unavailable(str(failure))

    async def _answers_probe(self) -> bool:
        async with self._slots:
            self._require_open()
            return await self._probe() is None


def make_unavailable(problem: str) -> ModelUnavailable:
    """Return the error for a server that cannot be used."""
    advice = "Try again in a moment. Searches with the mode `keyword` work meanwhile."
    return ModelUnavailable(f"The embedding server {problem}. {advice}")
