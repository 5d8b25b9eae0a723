"""The embedding model of this process: one thread loads it, and embeds together what all callers ask for."""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue

import numpy as np

from pipeline.embedding.model import BATCH_TOKENS, EmbeddingModel, cut_batches
from pipeline.errors import FailureCode, IngestionError, ModelUnavailable
from pipeline.logs import get_logger

RELOAD_SECONDS = 5.0

log = get_logger()


class Request:
    """The texts of one caller, and their vectors as far as they are made."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.answer: Future[np.ndarray] = Future()
        self.texts = texts

    def open(self, model: EmbeddingModel) -> None:
        """Tokenize the texts, once."""
        self.tokens = model.tokenize(self.texts)
        self.waiting = sorted(range(len(self.texts)), key=lambda index: len(self.tokens[index]))
        self.vectors = np.empty((len(self.texts), model.dimension), np.float32)

    @property
    def is_open(self) -> bool:
        """Whether texts wait that somebody still wants."""
        return bool(self.waiting) and not self.answer.done()

    def finish(self) -> None:
        """Answer, if the caller still listens."""
        with suppress(InvalidStateError):
            self.answer.set_result(self.vectors)

    def fail(self, error: Exception) -> None:
        """Tell the caller that his texts cannot be embedded."""
        with suppress(InvalidStateError):
            self.answer.set_exception(error)


class Encoder:
    """Texts to vectors without blocking the event loop.

    Whatever waits shares the next pass: chunks of several documents, or the questions of several users. Nobody waits
    for company, and callers take turns, so that a note does not wait for a book.
    """

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._loaded: Future[EmbeddingModel] = Future()
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="encoder")

    def start(self) -> None:
        """Begin to load the model, if that has not begun; a model that cannot be loaded is tried again for ever."""
        if not (self._thread.ident or self._closing.is_set()):
            self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return self._loaded.done() and self._loaded.exception() is None

    async def wait(self) -> None:
        """Return when the model is loaded.

        Raises ModelUnavailable where it is closed before that.
        """
        await asyncio.shield(asyncio.wrap_future(self._loaded))

    async def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension).

        Raises ModelUnavailable where the model is not loaded yet or another one has taken over, IngestionError where it
        fails on these texts.
        """
        if self._closing.is_set():
            raise self._make_closed()
        if not self.is_ready:
            raise ModelUnavailable("The embedding model is not loaded yet. Try again in a moment.")
        request = Request(texts)
        self._requests.put(request)
        try:
            return await asyncio.wrap_future(request.answer)
        except (RuntimeError, ValueError, IndexError) as error:
            message = "The text could not be embedded. Retry; if it fails again, report it."
            raise IngestionError(FailureCode.EMBEDDING_FAILED, message) from error

    def close(self) -> None:
        """Stop loading, take nothing more, and let the thread end when whoever still listens has been answered."""
        self._closing.set()
        with suppress(InvalidStateError):
            self._loaded.set_exception(self._make_closed())
        self._requests.put(None)

    @staticmethod
    def _make_closed() -> ModelUnavailable:
        return ModelUnavailable("Another embedding model has taken over. Try again.")

    def _run(self) -> None:
        while not self._loaded.done():
            try:
                model = EmbeddingModel(self.model_name)
            except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
                log.error("model.unavailable", model=self.model_name, cause=repr(error))  # noqa: TRY400
                self._closing.wait(RELOAD_SECONDS)
            else:
                log.info("model.loaded", model=model.name, dimension=model.dimension, precision=model.precision)
                try:
                    self._loaded.set_result(model)
                except InvalidStateError:
                    return  # closed while it was loading
                self._serve(model)

    def _serve(self, model: EmbeddingModel) -> None:
        open_requests: list[Request] = []
        is_last = False
        while open_requests or not is_last:
            received, is_closing = self._receive(model, wait=not open_requests)
            is_last |= is_closing
            open_requests += received
            embed_round(model, open_requests)
            open_requests = [request for request in open_requests if request.is_open]

    def _receive(self, model: EmbeddingModel, *, wait: bool) -> tuple[list[Request], bool]:
        """Whatever was asked for by now, and whether nothing more will be; waits where there is nothing else to do."""
        received: list[Request] = []
        while wait or not self._requests.empty():
            wait = False
            request = self._requests.get()
            if request is None:
                return received, True
            try:
                request.open(model)
            except Exception as error:  # noqa: BLE001 - the caller's, as an executor would do it
                request.fail(error)
            else:
                received.append(request)
        return received, False


def embed_round(model: EmbeddingModel, requests: Sequence[Request]) -> None:
    """Embed about one pass full of texts, taken from the requests in turn, and answer those that are complete."""
    taken = take_texts(requests)
    for batch in cut_batches([len(request.tokens[index]) for request, index in taken]):
        texts = [taken[number] for number in batch]
        try:
            _embed(model, texts)
        except Exception:  # noqa: BLE001 - told to whose text it was, see below
            _embed_apart(model, texts)
    for request in requests:
        if not request.waiting:
            request.finish()


def take_texts(requests: Sequence[Request]) -> list[tuple[Request, int]]:
    """The longest texts of each request, in turn, until they are enough for a pass; as (request, index) pairs."""
    taken: list[tuple[Request, int]] = []
    tokens = 0
    queue = deque(request for request in requests if request.is_open)
    while queue and tokens < BATCH_TOKENS:
        request = queue.popleft()
        index = request.waiting.pop()
        taken.append((request, index))
        tokens += len(request.tokens[index])
        if request.waiting:
            queue.append(request)
    return taken


def _embed(model: EmbeddingModel, texts: Sequence[tuple[Request, int]]) -> None:
    vectors = model.embed([request.tokens[index] for request, index in texts])
    for (request, index), vector in zip(texts, vectors, strict=True):
        request.vectors[index] = vector


def _embed_apart(model: EmbeddingModel, texts: Sequence[tuple[Request, int]]) -> None:
    """After a failed pass: each text by itself, so that one caller's failure is no other's."""
    for text in texts:
        try:
            _embed(model, [text])
        except Exception as error:  # noqa: BLE001 - the caller's, as an executor would do it
            text[0].fail(error)
