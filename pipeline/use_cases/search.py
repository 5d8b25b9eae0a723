"""Find the passages that answer a query."""

from contextlib import nullcontext
from functools import partial

from pipeline.db.audit import Event, name_key
from pipeline.db.filters import restrict
from pipeline.db.retrieval import PassageQuery, find_passages
from pipeline.embedding.prompts import Purpose
from pipeline.errors import CannotWrite, FieldError, InvalidInput
from pipeline.logs import get_logger
from pipeline.runtime import Runtime
from pipeline.stages.cosine_scale import PACKAGED_SCALE
from pipeline.stages.normalize import fold
from pipeline.types import EVERYTHING, Caller, Passage, SearchMode, Selection

MAX_QUESTION_CHARACTERS = 4000
"""Longest query or question."""
AUDITED_CHARACTERS = 500
"""Maximum length of a query in the audit log."""

log = get_logger()


async def search(
    runtime: Runtime,
    caller: Caller,
    query: str,
    *,
    mode: SearchMode = SearchMode.HYBRID,
    top_k: int,
    selection: Selection = EVERYTHING,
    min_score: float = 0.0,
    has_details: bool = False,
) -> list[Passage]:
    """Return the `top_k` best passages of what is selected and what the caller may see, best first.

    Passages with a score below `min_score` are left out.

    Accounts take turns if one of them sends many searches at once. Raises InvalidInput if the query has no word,
    Overloaded if too many wait, and ModelUnavailable while the embedding model is not loaded. Keyword searches need no
    model, and so do not wait for other searches that wait for it.

    If there is a reranker, it reorders the best passages, except those of keyword searches.
    """
    require_word(query)
    build = partial(_build_query, runtime, caller, query, mode, top_k, selection, min_score, has_details=has_details)
    async with nullcontext() if mode == SearchMode.KEYWORD else runtime.search_queue.turn(str(caller.owner_id)):
        wanted = await build()
        passages = await _find(runtime, caller, wanted)
        if not passages and await runtime.encoders.is_replaced(wanted.model):
            passages = await _find(runtime, caller, await build())
        if runtime.reranker and mode != SearchMode.KEYWORD:
            passages = await runtime.reranker.rerank(wanted.text, passages)
        return passages[:top_k]


def require_word(query: str, field: str = "query") -> None:
    """Raise InvalidInput if the query in this field has no letter or digit, so nothing could answer it."""
    if not any(map(str.isalnum, query)):
        problem = FieldError(field, "needs a letter or a digit")
        raise InvalidInput("The query has no word. Write what you are looking for.", errors=(problem,))


async def _build_query(
    runtime: Runtime,
    caller: Caller,
    query: str,
    mode: SearchMode,
    top_k: int,
    selection: Selection,
    min_score: float,
    *,
    has_details: bool,
) -> PassageQuery:
    """Return the query in the form of the indexed text, embedded with the model that this process considers active."""
    encoder, query = runtime.encoder, fold(query)
    by_words = mode == SearchMode.KEYWORD
    return PassageQuery(
        caller.owner_id,
        mode,
        query,
        vector=None if by_words else (await encoder.encode([query], Purpose.QUERY))[0],
        scale=PACKAGED_SCALE if by_words else await runtime.cosine_scales.find(encoder),
        model=encoder.model_name,
        limit=top_k,
        depth=runtime.reranker.depth if runtime.reranker and not by_words else 0,
        min_score=min_score,
        has_details=has_details,
        language=runtime.settings.text_search_config,
        selection=restrict(caller, selection),
        bound_to=caller.collection_ids,
        bounds=runtime.search_bounds,
    )


async def _find(runtime: Runtime, caller: Caller, wanted: PassageQuery) -> list[Passage]:
    async with runtime.statement_queue.turn(str(wanted.owner_id)):
        return await _find_and_audit(runtime, caller, wanted)


async def _find_and_audit(runtime: Runtime, caller: Caller, wanted: PassageQuery) -> list[Passage]:
    details = {"query": wanted.text[:AUDITED_CHARACTERS], "top_k": wanted.limit, "mode": wanted.mode}
    try:
        async with runtime.database.statement() as connection:
            return await find_passages(connection, wanted, name_key(caller, details))
    except CannotWrite:
        # A full disk or a read-only database must not stop searches: search again without the audit row.
        async with runtime.database.statement() as connection:
            passages = await find_passages(connection, wanted)
        log.warning("audit.not_written", event_type=Event.QUERY, user_id=str(wanted.owner_id))
        return passages
