"""Chooses where a model runs: in this process, or on the embedding server that the settings name."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from pipeline.embedding.encoder import Encoder, Loader
from pipeline.embedding.engines.loading import EngineOptions, load_model
from pipeline.embedding.model import find_folder
from pipeline.embedding.prompts import Prompts, find_prompts
from pipeline.embedding.text_encoder import TextEncoder
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.embedding.server import EmbeddingServer


class ModelUnusable(Exception):
    """The model cannot be loaded, or its server cannot be used. The message gives the reason."""


def is_remote(settings: Settings, model: str) -> bool:
    """Return True if a server runs the model. The packaged model and models in folders always run in this process."""
    return settings.embedding_base_url is not None and find_folder(model) is None


def make_loader(settings: Settings) -> Loader:
    """Return the function that loads models in this process."""
    options = EngineOptions(settings.model_cache_folder, settings.embedding_engine, settings.embedding_device)
    return lambda model, cancelled: load_model(model, options, cancelled)


def make_encoder(settings: Settings, model: str) -> TextEncoder:
    """Return the encoder of a model."""
    prompts = _read_prompts(settings)
    if not is_remote(settings, model):
        return Encoder(model, make_loader(settings), prompts)
    from pipeline.embedding.remote import RemoteEncoder  # noqa: PLC0415 - imports the HTTP client

    return RemoteEncoder(model, _read_server(settings), prompts)


@dataclass(frozen=True)
class UsableModel:
    """A model that was loaded, or whose server has answered."""

    dimension: int
    """Length of its vectors."""
    engine: str
    """What computes the vectors, in words."""
    prompts: Prompts
    """The prompts in force. The configuration of a model on a server is not read."""
    refusals: Sequence[str] = ()
    """Why faster engines do not run it."""


async def try_model(settings: Settings, model: str) -> UsableModel:
    """Load a model, or ask its server.

    Raises ModelUnusable.
    """
    if is_remote(settings, model):
        return UsableModel(await _ask_dimension(settings, model), "the embedding server", _read_prompts(settings))
    try:
        loaded = await asyncio.to_thread(make_loader(settings), model, Event())
        prompts = _read_prompts(settings).or_else(find_prompts(model, find_folder(model)))
        engine = f"{loaded.engine} in {loaded.precision} on {loaded.device}"
        return UsableModel(loaded.dimension, engine, prompts, loaded.refusals)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        raise ModelUnusable(f"{model} cannot be loaded: {error}") from error


def _read_prompts(settings: Settings) -> Prompts:
    return Prompts(settings.embedding_query_prompt, settings.embedding_document_prompt)


async def _ask_dimension(settings: Settings, model: str) -> int:
    from pipeline.embedding.server import ServerFailure, connect  # noqa: PLC0415 - imports the HTTP client

    server = _read_server(settings)
    try:
        async with connect(server, model) as client:
            vectors = await client.embed(["Hello"], server.timeout_seconds)
    except ServerFailure as failure:
        raise ModelUnusable(f"{model}: the embedding server {failure}") from failure
    return int(vectors.shape[1])


def _read_server(settings: Settings) -> "EmbeddingServer":
    from pipeline.embedding.server import EmbeddingServer  # noqa: PLC0415 - imports the HTTP client

    return EmbeddingServer(
        base_url=str(settings.embedding_base_url),
        api_key=settings.embedding_api_key.get_secret_value() if settings.embedding_api_key else None,
        batch_size=settings.embedding_batch_size,
        concurrency=settings.embedding_concurrency,
        timeout_seconds=settings.embedding_timeout_seconds,
    )
