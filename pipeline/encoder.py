"""The embedding model of this process: loaded in the background, called from one thread of its own."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.errors import FailureCode, IngestionError, ModelUnavailable
from pipeline.logs import get_logger
from pipeline.stages.embed import EmbeddingModel

RELOAD_SECONDS = 5.0

log = get_logger()


class Encoder:
    """Texts to vectors without blocking the event loop."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._model: asyncio.Future[EmbeddingModel] | None = None
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load the model; a model that cannot be loaded is tried again for ever."""
        self._model = asyncio.get_running_loop().create_future()
        self._loading = asyncio.create_task(self._load(self._model))

    async def _load(self, model: asyncio.Future[EmbeddingModel]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                loaded = await loop.run_in_executor(self._threads, EmbeddingModel, self.model_name)
            except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
                log.error("model.unavailable", model=self.model_name, cause=repr(error))  # noqa: TRY400
                await asyncio.sleep(RELOAD_SECONDS)
            else:
                log.info("model.loaded", model=self.model_name, dimension=loaded.dimension)
                model.set_result(loaded)
                return

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return self._model is not None and self._model.done()

    async def wait(self) -> None:
        """Return when the model is loaded."""
        if self._model is not None:
            await asyncio.shield(self._model)

    async def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension).

        Raises ModelUnavailable where the model is not loaded yet, IngestionError where it fails on these texts.
        """
        if self._model is None or not self._model.done():
            raise ModelUnavailable("The embedding model is not loaded yet. Try again in a moment.")
        model = self._model.result()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, model.encode, texts)
        except (RuntimeError, ValueError, IndexError) as error:
            message = "The text could not be embedded. Retry; if it fails again, report it."
            raise IngestionError(FailureCode.EMBEDDING_FAILED, message) from error

    async def close(self) -> None:
        """Stop loading and let the thread end after its present batch."""
        if self._loading:
            self._loading.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
