"""Vectors of the next model, made while the active model answers searches."""

import asyncio
from collections.abc import Sequence

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from pipeline.db import access, chunks, embedding_models, queue
from pipeline.embedding.prompts import Purpose
from pipeline.embedding.text_encoder import TextEncoder
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
    vectors = await _embed(attempt, encoder, texts)
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

    Raises DimensionChanged otherwise. A server, or a folder, then has another model under the same name.
    """
    dimensions = {vector.size for vector in vectors}
    if dimensions and (stored := await chunks.find_dimension(session, attempt.subject.owner_id, model)):
        dimensions.add(stored)
    if len(dimensions) > 1:
        log.error("model.dimension_changed", model=model, dimensions=sorted(dimensions))
        raise DimensionChanged("The embedding model makes vectors of another dimension than the stored ones.")


async def embed_with_next(attempt: Attempt, texts: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Return the vectors of the next model by its name, or nothing if it is not loaded or fails.

    A subject stored with these vectors needs no background job.
    """
    encoder = attempt.runtime.encoders.next
    if not (encoder and encoder.is_ready):
        return {}
    try:
        return {encoder.model_name: await _embed(attempt, encoder, texts)}
    except (IngestionError, ModelUnavailable):
        return {}  # the `reembed` command queues the missing vectors


async def _embed(attempt: Attempt, encoder: TextEncoder, texts: Sequence[str]) -> list[np.ndarray]:
    vectors: list[np.ndarray] = []
    while len(vectors) < len(texts):
        await attempt.reach(Stage.EMBEDDING, EMBEDDED)
        next_texts = texts[len(vectors) : len(vectors) + attempt.embed_at_once]
        vectors += list(await encoder.encode(next_texts, Purpose.DOCUMENT))
    return vectors
