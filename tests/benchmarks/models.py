"""The models that are measured."""

from pipeline.embedding.engines.torch_model import TorchModel
from pipeline.embedding.model import PACKAGED_MODEL, EmbeddingModel, Precision
from tests import models


def load_model() -> EmbeddingModel:
    """Load the packaged model as the service does."""
    return models.load_model(PACKAGED_MODEL)


def load_on_gpu() -> EmbeddingModel | None:
    """Load the packaged model in torch on the GPU, if there is one."""
    model = TorchModel(PACKAGED_MODEL, device="auto")
    return None if model.device == "cpu" else model


def load_reference(precision: Precision) -> EmbeddingModel:
    """Load the packaged model in torch, as sentence-transformers runs it."""
    return TorchModel(PACKAGED_MODEL, precision)
