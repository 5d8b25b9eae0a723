"""The encoder of one process: a thread that loads the model and embeds the texts of all callers together."""

import asyncio
import gc
import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue
from time import perf_counter

import numpy as np

from pipeline import metrics
from pipeline.embedding.engines.loading import describe
from pipeline.embedding.model import EmbeddingModel, find_folder
from pipeline.embedding.prompts import NO_PROMPTS, Prompts, Purpose, find_prompts
from pipeline.embedding.text_encoder import ModelIdentity
from pipeline.embedding.windows import Window, cut_windows
from pipeline.errors import FailureCode, IngestionError, ModelUnavailable
from pipeline.logs import get_logger

RELOAD_SECONDS = 5.0
"""Pause before another try to load a model that failed to load."""

Loader = Callable[[str, threading.Event], EmbeddingModel]
"""Loads a model by its name, until the event is set. Raises OSError, ValueError, RuntimeError, ImportError or KeyError
if the model cannot be loaded."""

log = get_logger()


class Request:
    """The texts of one caller, and the vectors made so far."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.answer: Future[np.ndarray] = Future()
        self.texts = texts

    def open(self, model: EmbeddingModel) -> None:
        """Tokenize the texts."""
        self.tokens = model.tokenize(self.texts)
        self.waiting = sorted(range(len(self.texts)), key=lambda index: len(self.tokens[index]))
        self.vectors = np.empty((len(self.texts), model.dimension), np.float32)

    @property
    def is_open(self) -> bool:
        """True while texts are left to embed and the caller has not cancelled."""
        return bool(self.waiting) and not self.answer.done()

    def finish(self) -> None:
        """Answer with the vectors, unless the caller has cancelled."""
        with suppress(InvalidStateError):
            self.answer.set_result(self.vectors)

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless the caller has cancelled."""
        with suppress(InvalidStateError):
            self.answer.set_exception(error)


class Encoder:
    """Turns texts into vectors without blocking the event loop.

    Waiting requests share the next forward pass, whether their texts are chunks or questions. There is no batching
    delay. Batches are filled round-robin, so a short request is not stuck behind a long one.
    """

    def __init__(self, model_name: str, load: Loader, prompts: Prompts = NO_PROMPTS) -> None:
        """Prepare an encoder. The given prompts replace those of the model."""
        self.model_name = model_name
        self._load = load
        self._prompts = prompts
        self._loaded: Future[EmbeddingModel] = Future()
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._closing = threading.Event()
        self._is_unavailable = False
        self._thread = threading.Thread(target=self._run, name="encoder")

    def start(self) -> None:
        """Start to load the model, unless already started. Retry until it is loaded or the encoder is closed."""
        if not (self._thread.ident or self._closing.is_set()):
            self._thread.start()

    @property
    def is_ready(self) -> bool:
        """True if the model is loaded."""
        return self._loaded.done() and self._loaded.exception() is None

    @property
    def is_interrupted(self) -> bool:
        """False, because a loaded model stays loaded."""
        return False

    @property
    def is_unavailable(self) -> bool:
        """True if the last try to load the model has failed."""
        return self._is_unavailable

    @property
    def has_failed(self) -> bool:
        """True if the thread has ended by a programming error. It then answers no request."""
        was_started = self._thread.ident is not None
        return was_started and not self._thread.is_alive() and not self._closing.is_set()

    @property
    def identity(self) -> ModelIdentity | None:
        """The identity of the loaded model, or None if it is not loaded."""
        if not self.is_ready:
            return None
        model = self._loaded.result()
        described = json.dumps([describe(model), model.content, self._prompts.document], sort_keys=True)
        return ModelIdentity(hashlib.sha256(described.encode()).digest(), model.dimension)

    async def wait(self) -> None:
        """Return when the model is loaded.

        Raises ModelUnavailable if the encoder is closed first.
        """
        loaded = asyncio.wrap_future(self._loaded)
        # If this call is cancelled, nobody asks for the error of an encoder that is closed later.
        loaded.add_done_callback(lambda future: future.cancelled() or future.exception())
        await asyncio.shield(loaded)

    async def encode(self, texts: Sequence[str], purpose: Purpose) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension), made with the prompt of this purpose.

        Raises ModelUnavailable if the encoder is not ready or closed, IngestionError if the model fails on these texts.
        """
        self._require_ready()
        request = Request(self._prompts.prepend(texts, purpose))
        self._requests.put(request)
        try:
            with metrics.ENCODER_WAITING.track_inprogress():
                return await asyncio.wrap_future(request.answer)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            message = "The text could not be embedded. Retry; if it fails again, report it."
            raise IngestionError(FailureCode.EMBEDDING_FAILED, message) from error

    async def cut(self, texts: Sequence[str], heading: str) -> list[list[Window]]:
        """Return the windows of each document's text, as `cut_windows` does. All texts begin with the heading.

        A text has a single window if the model's tokenizer gives no offsets. Raises ModelUnavailable if the encoder is
        not ready.
        """
        self._require_ready()
        tokenizer = self._loaded.result().tokenizer
        if tokenizer is None:
            return [[Window(text)] for text in texts]
        return await asyncio.to_thread(cut_windows, tokenizer, texts, self._prompts.document or "", heading)

    def close(self) -> None:
        """Stop loading and refuse new requests. The thread ends after it has answered the accepted ones."""
        self._closing.set()
        with suppress(InvalidStateError):
            self._loaded.set_exception(self._make_closed_error())
        self._requests.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for the thread of a closed encoder to end. Return True if it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _require_ready(self) -> None:
        if self._closing.is_set():
            raise self._make_closed_error()
        if not self.is_ready:
            raise ModelUnavailable("The embedding model is not loaded yet. Try again in a moment.")

    @staticmethod
    def _make_closed_error() -> ModelUnavailable:
        return ModelUnavailable("The embedding model has been replaced. Try again.")

    def _run(self) -> None:
        while not self._loaded.done():
            try:
                model = self._load(self.model_name, self._closing)
                self._prompts = self._prompts.or_else(find_prompts(self.model_name, find_folder(self.model_name)))
            except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
                if self._closing.is_set():
                    return  # at the end of the process, libraries fail because they can start no threads
                self._is_unavailable = True
                log.error("model.unavailable", model=self.model_name, cause=repr(error))  # noqa: TRY400 - the cause suffices
                self._closing.wait(RELOAD_SECONDS)
            else:
                self._is_unavailable = False
                _keep_out_of_collections()
                log.info("model.loaded", **describe(model))
                try:
                    self._loaded.set_result(model)
                except InvalidStateError:
                    return  # closed during loading
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
        """Return all waiting requests, and whether the encoder is closed. With `wait`, wait for the first request."""
        received: list[Request] = []
        while wait or not self._requests.empty():
            wait = False
            request = self._requests.get()
            if request is None:
                return received, True
            try:
                request.open(model)
            except Exception as error:  # noqa: BLE001 - the caller gets the error, as from an executor
                request.fail(error)
            else:
                received.append(request)
        return received, False


def embed_round(model: EmbeddingModel, requests: Sequence[Request]) -> None:
    """Embed about one batch of texts, taken round-robin, and answer the requests that are complete."""
    taken = take_texts(requests, model.batch_tokens)
    for batch in model.cut_batches([len(request.tokens[index]) for request, index in taken]):
        texts = [taken[number] for number in batch]
        try:
            _embed(model, texts)
        except Exception:  # noqa: BLE001 - each text is tried again alone, and its caller gets the error
            _embed_separately(model, texts)
    for request in requests:
        if not request.waiting:
            request.finish()


def take_texts(requests: Sequence[Request], batch_tokens: int) -> list[tuple[Request, int]]:
    """Take texts round-robin, the longest of each request first, until they fill a batch.

    Return them as pairs of request and index.
    """
    taken: list[tuple[Request, int]] = []
    tokens = 0
    queue = deque(request for request in requests if request.is_open)
    while queue and tokens < batch_tokens:
        request = queue.popleft()
        index = request.waiting.pop()
        taken.append((request, index))
        tokens += len(request.tokens[index])
        if request.waiting:
            queue.append(request)
    return taken


def _embed(model: EmbeddingModel, texts: Sequence[tuple[Request, int]]) -> None:
    tokens = [request.tokens[index] for request, index in texts]
    started = perf_counter()
    vectors = model.embed(tokens)
    metrics.ENCODER_PASS_SECONDS.observe(perf_counter() - started)
    metrics.ENCODER_PASS_TOKENS.observe(len(tokens) * max(map(len, tokens)))
    for (request, index), vector in zip(texts, vectors, strict=True):
        request.vectors[index] = vector


def _embed_separately(model: EmbeddingModel, texts: Sequence[tuple[Request, int]]) -> None:
    """After a failed pass, embed each text alone, so that one caller's text does not fail the others."""
    for text in texts:
        try:
            _embed(model, [text])
        except Exception as error:  # noqa: BLE001 - the caller gets the error, as from an executor
            text[0].fail(error)


def _keep_out_of_collections() -> None:
    """Let garbage collection skip all modules and models that are loaded now.

    Otherwise each full collection would stop the process for about 0.2 s. What an earlier model left is collected.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
