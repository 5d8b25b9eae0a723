"""Embed texts of a caller with the active model, without storing anything."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.embedding.prompts import Purpose
from pipeline.embedding.windows import group_vectors
from pipeline.runtime import Runtime
from pipeline.stages.normalize import fold
from pipeline.types import Caller


@dataclass(frozen=True)
class Embedded:
    """Float32 unit vectors of shape (texts, dimension), the model, and the tokens that it has read."""

    vectors: np.ndarray
    model: str
    tokens: int


async def embed(runtime: Runtime, caller: Caller, texts: Sequence[str]) -> Embedded:
    """Return a vector for each text, as for documents. A text that the model cannot read at once gets the mean.

    The mean is that of the vectors of its windows. Accounts take turns, as in searches.
    Raises ModelUnavailable while the model is not loaded, and Overloaded if too many wait.
    """
    async with runtime.search_queue.turn(str(caller.owner_id)):
        encoder = runtime.encoder
        windows = await encoder.cut([fold(text) for text in texts], "")
        parts = [window.text for own in windows for window in own]
        vectors = await encoder.encode(parts, Purpose.DOCUMENT)
        means = np.stack([own.mean(axis=0) for own in group_vectors(vectors, windows)])
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        tokens = sum(window.tokens for own in windows for window in own)
        return Embedded((means / norms).astype(np.float32), encoder.model_name, tokens)
