"""Embeds texts in this process and with helpers at the same time."""

import asyncio
from collections import deque
from collections.abc import Sequence

import numpy as np

from pipeline.embedding.helpers import PIECES_AT_ONCE, Helpers
from pipeline.embedding.prompts import Purpose
from pipeline.embedding.text_encoder import ModelIdentity, TextEncoder

PIECE_TEXTS = 8
"""Number of texts of a piece: about one forward pass of full chunks on a processor."""
MAX_HELPERS = 3
"""Maximum number of helpers for one document."""


async def encode_together(encoder: TextEncoder, helpers: Helpers, texts: Sequence[str]) -> np.ndarray:
    """Return float32 unit vectors of shape (texts, dimension) of documents. Helpers embed some of the texts.

    Raises what `encoder.encode` raises.
    """
    if encoder.identity is None or len(texts) <= PIECE_TEXTS:
        return await encoder.encode(texts, Purpose.DOCUMENT)
    return await _Sharing(encoder, helpers, texts).run(encoder.identity)


class _Sharing:
    """The texts of one call, in pieces of similar length. Each encoder that is free takes the next piece."""

    def __init__(self, encoder: TextEncoder, helpers: Helpers, texts: Sequence[str]) -> None:
        self._encoder = encoder
        self._helpers = helpers
        self._texts = texts
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        self._pieces = deque(order[start : start + PIECE_TEXTS] for start in range(0, len(order), PIECE_TEXTS))
        self._vectors: dict[int, np.ndarray] = {}
        self._returned = asyncio.Event()
        """Set when a piece has come back from a helper, with or without vectors."""

    async def run(self, model: ModelIdentity) -> np.ndarray:
        helpers = min(MAX_HELPERS, max(1, self._helpers.peers))
        sharing = [asyncio.create_task(self._share(model)) for _ in range(PIECES_AT_ONCE * helpers)]
        try:
            while len(self._vectors) < len(self._texts):
                self._returned.clear()
                await self._embed_own()
                if not self._pieces and len(self._vectors) < len(self._texts):
                    await self._returned.wait()
        finally:
            await _cancel(sharing)
        for task in sharing:
            if not task.cancelled():
                task.result()  # an error that nobody foresaw
        return np.stack([self._vectors[index] for index in range(len(self._texts))])

    async def _embed_own(self) -> None:
        embedding = [asyncio.create_task(self._embed_pieces()) for _ in range(PIECES_AT_ONCE)]
        try:
            await asyncio.gather(*embedding)
        finally:
            await _cancel(embedding)

    async def _embed_pieces(self) -> None:
        while self._pieces:
            piece = self._pieces.popleft()
            self._keep(piece, await self._encoder.encode(self._get_texts(piece), Purpose.DOCUMENT))

    async def _share(self, model: ModelIdentity) -> None:
        """Give pieces to helpers, one after another, until none is left or one does not come back."""
        while accepted := await self._helpers.find(model):
            if not self._pieces:
                self._helpers.withdraw(accepted)
                return
            piece, vectors = self._pieces.pop(), None
            try:
                vectors = await self._helpers.ask(accepted, model, self._get_texts(piece))
            finally:
                if vectors is None:
                    self._pieces.append(piece)
                self._returned.set()
            if vectors is None:
                return
            self._keep(piece, vectors)

    def _get_texts(self, piece: Sequence[int]) -> list[str]:
        return [self._texts[index] for index in piece]

    def _keep(self, piece: Sequence[int], vectors: np.ndarray) -> None:
        self._vectors |= zip(piece, vectors, strict=True)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
