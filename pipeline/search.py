"""Finding the passages that answer a query."""

from collections.abc import Collection
from uuid import UUID

from pipeline.db import audit, chunks
from pipeline.errors import StorageFull
from pipeline.logs import get_logger
from pipeline.runtime import Runtime
from pipeline.types import Passage

AUDITED_CHARACTERS = 500

log = get_logger()


async def search(
    runtime: Runtime, owner_id: UUID, query: str, *, top_k: int, document_ids: Collection[UUID] | None
) -> list[Passage]:
    """Return the owner's `top_k` best passages, best first, of all documents or of some.

    Raises ModelUnavailable while the embedding model is not loaded.
    """
    vector = (await runtime.encoder.encode([query]))[0]
    passages: list[Passage] | None = None
    try:
        async with runtime.database.transaction(owner_id) as session:
            passages = await chunks.find_nearest(
                session,
                owner_id,
                vector,
                model=runtime.encoder.model_name,
                limit=top_k,
                document_ids=document_ids,
            )
            details = {"query": query[:AUDITED_CHARACTERS], "top_k": top_k, "passages": len(passages)}
            await audit.record(session, audit.Event.QUERY, owner_id, details)
    except StorageFull:
        # A full disk shall not keep people from their documents.
        if passages is None:
            raise
        log.warning("audit.not_written", event_type=audit.Event.QUERY, user_id=str(owner_id))
    return passages
