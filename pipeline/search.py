"""Finding the passages that answer a query."""

from collections.abc import Collection
from uuid import UUID

from pipeline.db.audit import Event
from pipeline.db.retrieval import NearestQuery, find_nearest
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
    wanted = NearestQuery(owner_id, vector, runtime.encoder.model_name, top_k, document_ids)
    audited = {"query": query[:AUDITED_CHARACTERS], "top_k": top_k}
    try:
        async with runtime.database.statement() as connection:
            return await find_nearest(connection, wanted, audited)
    except StorageFull:
        # A full disk shall not keep people from their documents.
        async with runtime.database.statement() as connection:
            passages = await find_nearest(connection, wanted)
        log.warning("audit.not_written", event_type=Event.QUERY, user_id=str(owner_id))
        return passages
