"""Vectors of the next model, made while the active model answers searches."""

import asyncio
from collections.abc import Sequence

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, chunks, embedding_models, queue
from pipeline.embedding.prompts import Purpose
from pipeline.embedding.text_encoder import TextEncoder
from pipeline.embedding.windows import group_vectors
from pipeline.errors import DimensionChanged, IngestionError, ModelUnavailable
from pipeline.ingest.attempt import Attempt
from pipeline.ingest.progress import EMBEDDED
from pipeline.ingest.read import make_heading
from pipeline.logs import get_logger
from pipeline.stages.repair import repair
from pipeline.types import Stage, SubjectKind

log = get_logger()

BACKGROUND_CHUNKS = 64
"""Maximum number of chunks per background attempt. The job then goes back, so that other jobs come first."""


async def add_next_vectors(attempt: Attempt) -> None:
    """Embed up to 64 stored chunks of the subject with the next model.

    Chunks that change meanwhile are queued again by the `reembed` command. Raises ModelUnavailable if there is no next
    model or its dimension has changed, LeaseLost if this worker no longer holds the job.
    """
    subject, encoder = attempt.subject, attempt.runtime.encoders.next
    if encoder is None:
        raise ModelUnavailable("There is no next model.")
    async with attempt.transaction() as session:
        stored = await chunks.find_lacking(session, subject, encoder.model_name, BACKGROUND_CHUNKS)
        has_title = stored and subject.kind == SubjectKind.NOTE
        heading = make_heading(await access.get_note(session, subject.owner_id, subject.id)) if has_title else ""
    texts = await asyncio.to_thread(lambda: [heading + repair(chunk.text) for chunk in stored])
    vectors = await _embed(attempt, encoder, texts, heading)
    await attempt.reach(Stage.STORING, EMBEDDED)
    async with attempt.transaction() as session:
        models = await embedding_models.hold(session)
        if models.next != encoder.model_name:
            raise ModelUnavailable("The next model has changed.")
        if len(stored) < BACKGROUND_CHUNKS:
            await queue.complete(session, attempt.lease)
        else:
            await queue.give_back(session, attempt.lease)
        await require_dimension(attempt, session, encoder.model_name, vectors)
        await chunks.add_vectors(session, subject, stored, vectors, encoder.model_name)
        await attempt.reach(Stage.FINISHING, EMBEDDED)
    await attempt.reach(Stage.STORED, 1.0)


async def require_dimension(attempt: Attempt, session: AsyncSession, model: str, vectors: Sequence[np.ndarray]) -> None:
    """Check that new vectors have the dimension of the account's stored vectors of this model.

    The vectors of each chunk have the shape (windows, dimension). Raises DimensionChanged otherwise. A server, or a
    folder, then has another model under the same name.
    """
    dimensions = {of_chunk.shape[1] for of_chunk in vectors}
    if dimensions and (stored := await chunks.find_dimension(session, attempt.subject.owner_id, model)):
        dimensions.add(stored)
    if len(dimensions) > 1:
        log.error("model.dimension_changed", model=model, dimensions=sorted(dimensions))
        raise DimensionChanged("The embedding model makes vectors of another dimension than the stored ones.")


async def embed_with_next(attempt: Attempt, texts: Sequence[str], heading: str) -> dict[str, list[np.ndarray]]:
    """Return the next model's vectors of each text by its name, or nothing if it is not loaded or fails.

    The vectors of a text have the shape (windows, dimension). All texts begin with the heading.
    A subject stored with these vectors needs no background job.
    """
    encoder = attempt.runtime.encoders.next
    if not (encoder and encoder.is_ready):
        return {}
    try:
        return {encoder.model_name: await _embed(attempt, encoder, texts, heading)}
    except (IngestionError, ModelUnavailable):
        return {}  # the `reembed` command queues the missing vectors


async def _embed(attempt: Attempt, encoder: TextEncoder, texts: Sequence[str], heading: str) -> list[np.ndarray]:
    vectors: list[np.ndarray] = []
    while len(vectors) < len(texts):
        await attempt.reach(Stage.EMBEDDING, EMBEDDED)
        windows = await encoder.cut(texts[len(vectors) : len(vectors) + attempt.embed_at_once], heading)
        made = await encoder.encode([window.text for parts in windows for window in parts], Purpose.DOCUMENT)
        vectors += group_vectors(made, windows)
    return vectors
