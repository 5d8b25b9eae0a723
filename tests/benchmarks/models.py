"""The models that are measured."""

from pipeline.embedding.engines.torch_model import TorchModel
from pipeline.embedding.model import PACKAGED_MODEL, EmbeddingModel, Precision
from tests import models


def load_model() -> EmbeddingModel:
    """Load the packaged model as the service does."""
    return models.load_model(PACKAGED_MODEL)


def load_reference(precision: Precision) -> EmbeddingModel:
    """Load the packaged model in torch, as sentence-transformers runs it."""
    return TorchModel(PACKAGED_MODEL, precision)
