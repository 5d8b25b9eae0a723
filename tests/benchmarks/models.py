"""The models that are measured."""

from pipeline.embedding.model import PACKAGED_MODEL, EmbeddingModel, Precision


def load_model() -> EmbeddingModel:
    """Load the packaged model as the service does."""
    return EmbeddingModel(PACKAGED_MODEL)


def load_reference(precision: Precision) -> EmbeddingModel:
    """Load the packaged model in torch, as sentence-transformers runs it."""
    return EmbeddingModel(PACKAGED_MODEL, precision)
