"""Embedding models as the service loads them. All test processes share the exported models."""

from threading import Event

from pipeline.embedding.encoder import Encoder
from pipeline.embedding.engines import loading
from pipeline.embedding.engines.loading import EngineOptions
from pipeline.embedding.model import EmbeddingModel
from pipeline.embedding.prompts import NO_PROMPTS, Prompts
from tests.processes import PROJECT

MODEL_CACHE = PROJECT / ".models"
"""Kept between runs: an export takes ten seconds."""
OPTIONS = EngineOptions(MODEL_CACHE)


def load_model(name: str, cancelled: Event | None = None) -> EmbeddingModel:
    """Load a model with the fastest engine of this machine."""
    return loading.load_model(name, OPTIONS, cancelled or Event())


def make_encoder(name: str, prompts: Prompts = NO_PROMPTS) -> Encoder:
    """Return an encoder that is not started."""
    return Encoder(name, load_model, prompts)
