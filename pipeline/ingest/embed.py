"""Second step: pages become chunks, and chunks become vectors."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.db.chunks import fingerprint
from pipeline.embedding.sharing import encode_together
from pipeline.embedding.text_encoder import TextEncoder
from pipeline.embedding.windows import Window, group_vectors
from pipeline.ingest.attempt import EMBED_AT_ONCE, Attempt
from pipeline.ingest.progress import measure_embedding, measure_extraction
from pipeline.ingest.read import ReadPage
from pipeline.stages.chunk import split_page
from pipeline.stages.repair import repair
from pipeline.types import PageText, Stage, TextChunk


@dataclass(frozen=True)
class SplitPages:
    """Pages, their chunks, and the share of the file read so far (0.0 to 1.0)."""

    pages: list[PageText]
    chunks: list[TextChunk]
    texts: list[str]
    """The text of each chunk that is embedded and indexed."""
    share: float


@dataclass
class Content:
    """Content to store: the pages of a document, and chunks with their vectors."""

    model: str
    """The model that made the vectors."""
    heading: str
    """Text with which all texts begin."""
    pages: list[PageText] = field(default_factory=list)
    chunks: list[TextChunk] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """The text of each chunk that is embedded and indexed."""
    vectors: list[np.ndarray] = field(default_factory=list)
    """Vectors of each chunk embedded so far, in order, of shape (windows, dimension)."""
    reused: int = 0
    """Number of chunks whose vectors were reused from the previous version."""

    @property
    def waiting(self) -> int:
        """Number of chunks without a vector."""
        return len(self.chunks) - len(self.vectors)

    def add(self, split: SplitPages) -> None:
        """Append pages and their chunks."""
        self.pages += split.pages
        self.chunks += split.chunks
        self.texts += split.texts


async def split_pages(
    attempt: Attempt, batches: AsyncIterable[list[ReadPage]], heading: str
) -> AsyncGenerator[SplitPages]:
    """Split pages into chunks. `heading` is embedded with every chunk."""
    async for batch in batches:
        share = batch[-1].share
        await attempt.reach(Stage.CHUNKING, measure_extraction(share))
        pages = [read.page for read in batch]
        chunks, texts = await asyncio.to_thread(_split, pages, heading)
        yield SplitPages(pages, chunks, texts, share)


def _split(pages: list[PageText], heading: str) -> tuple[list[TextChunk], list[str]]:
    chunks = [chunk for page in pages for chunk in split_page(page)]
    return chunks, [heading + repair(chunk.text) for chunk in chunks]


async def embed(
    attempt: Attempt,
    splits: AsyncIterable[SplitPages],
    encoder: TextEncoder,
    known: Mapping[bytes, np.ndarray],
    heading: str,
) -> Content:
    """Embed chunks as they arrive, a few at a time. Chunks with `known` fingerprints keep their vectors."""
    content = Content(encoder.model_name, heading)
    share = 0.0
    async for split in splits:
        content.add(split)
        share = split.share
        while content.waiting >= min(EMBED_AT_ONCE, attempt.embed_at_once):
            await _embed_next(attempt, content, encoder, known, share)
    while content.waiting:
        await _embed_next(attempt, content, encoder, known, share)
    return content


async def _embed_next(
    attempt: Attempt, content: Content, encoder: TextEncoder, known: Mapping[bytes, np.ndarray], share: float
) -> None:
    embedded = len(content.vectors)
    await attempt.reach(Stage.EMBEDDING, measure_embedding(embedded, len(content.chunks), share))
    texts = content.texts[embedded : embedded + attempt.embed_at_once]
    windows = await encoder.cut(texts, content.heading)
    vectors, reused = await _find_vectors(attempt, encoder, windows, known)
    content.vectors += vectors
    content.reused += reused


async def _find_vectors(
    attempt: Attempt, encoder: TextEncoder, windows: Sequence[Sequence[Window]], known: Mapping[bytes, np.ndarray]
) -> tuple[list[np.ndarray], int]:
    """Return the vectors of each text from its windows, and the number of texts whose vectors were known.

    Vectors that were stored before there were windows are not reused if the text has several.
    """
    found = [known.get(fingerprint(parts[0].text)) for parts in windows]
    reused = [
        vectors if vectors is not None and len(vectors) == len(parts) else None
        for vectors, parts in zip(found, windows, strict=True)
    ]
    unknown = [parts for vectors, parts in zip(reused, windows, strict=True) if vectors is None]
    if not unknown:
        return [vectors for vectors in reused if vectors is not None], len(windows)
    texts = [window.text for parts in unknown for window in parts]
    made = iter(group_vectors(await encode_together(encoder, attempt.runtime.helpers, texts), unknown))
    return [next(made) if vectors is None else vectors for vectors in reused], len(windows) - len(unknown)
