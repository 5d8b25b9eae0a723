"""What the service needs of an encoder, wherever its model runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.embedding.prompts import Purpose
from pipeline.embedding.windows import Window


@dataclass(frozen=True)
class ModelIdentity:
    """What decides the vectors of documents. Encoders of different processes with the same identity make the same."""

    fingerprint: bytes
    """Digest of the model's name, files, engine, precision, device and prompt."""
    dimension: int
    """Length of a vector."""


class TextEncoder(Protocol):
    """Turns texts into vectors without blocking the event loop."""

    model_name: str

    def start(self) -> None:
        """Start to load the model or to look for its server, unless already started. Retry until closed."""

    @property
    def is_ready(self) -> bool:
        """True if texts can be embedded now."""

    @property
    def is_interrupted(self) -> bool:
        """True if texts could be embedded before, but cannot now. It ends by itself."""

    @property
    def is_unavailable(self) -> bool:
        """True if the last try to load the model, or to use its server, has failed. It is tried again."""

    @property
    def has_failed(self) -> bool:
        """True if the encoder has ended by a programming error."""

    @property
    def identity(self) -> ModelIdentity | None:
        """The identity of a model that is loaded in this process. None before it is loaded, or if a server runs it."""

    async def wait(self) -> None:
        """Return when texts can be embedded.

        Raises ModelUnavailable if the encoder is closed first.
        """

    async def encode(self, texts: Sequence[str], purpose: Purpose) -> np.ndarray:
        """Return float32 unit vectors of shape (texts, dimension), made with the prompt of this purpose.

        Raises ModelUnavailable if no text can be embedded now, IngestionError if these texts cannot.
        """

    async def cut(self, texts: Sequence[str], heading: str) -> list[list[Window]]:
        """Return the windows of each document's text, as `cut_windows` does. All texts begin with the heading.

        A text has a single window if the tokens of the model are unknown. Raises ModelUnavailable if the encoder is
        not ready.
        """

    def close(self) -> None:
        """Refuse new requests. Those that were accepted are still answered."""
