"""`POST /v1/vector_stores/{id}/search`: the passages of a collection that best match one or several queries."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, post
from litestar.params import FromPath, JSONBody

from api.auth import UserRequest
from api.controllers.openai.listing import read_id
from api.controllers.openai.searching import RankingOptions, identify, read_attributes, read_filters, read_threshold
from api.controllers.openai.store_files import Text, wait_for
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI
from api.permissions import READS
from api.ratelimit import count_query, limit_queries
from api.schemas import Question, TopK
from pipeline.runtime import Runtime
from pipeline.types import Attributes, Caller, Passage, Selection
from pipeline.use_cases import collections, search

MAX_QUERIES = 10


class StoreSearchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """One or several queries. They are never rewritten."""

    query: Question | Annotated[list[Question], msgspec.Meta(min_length=1, max_length=MAX_QUERIES)]
    max_num_results: TopK = 10
    filters: dict[str, Any] | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: bool | None = None


class SearchResult(msgspec.Struct):
    """A passage. `page`, `start` and `end` are its place in the file."""

    file_id: str
    filename: str
    score: float
    attributes: Attributes
    content: list[Text]
    page: int
    start: int
    end: int


class SearchResults(msgspec.Struct):
    """The best passages, best first."""

    search_query: list[str]
    data: list[SearchResult]
    has_more: bool = False
    next_page: None = None
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"


class StoreSearchController(Controller):
    """Searches a collection."""

    path = "/v1/vector_stores/{store_id:str}/search"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post("/", status_code=200, guards=[limit_queries], opt=READS)
    async def search(
        self,
        request: UserRequest,
        data: JSONBody[StoreSearchRequest],
        runtime: RuntimeDependency,
        store_id: FromPath[str],
    ) -> SearchResults:
        """Search a collection. Each query counts for the rate limit."""
        queries = [data.query] if isinstance(data.query, str) else data.query
        for query in queries:
            search.require_word(query)
        collection = await collections.get(runtime, request.user, read_id(store_id, "collection"))
        selection = Selection([collection.id], None, read_filters(data.filters))
        for _ in queries[1:]:
            await count_query(request)
        passages = await wait_for(request, _search(runtime, request.user, queries, selection, data))
        attributes = await read_attributes(runtime, request.user, [collection.id], passages)
        return SearchResults(queries, [_show(passage, attributes.get(identify(passage), {})) for passage in passages])


async def _search(
    runtime: Runtime, caller: Caller, queries: list[str], selection: Selection, data: StoreSearchRequest
) -> list[Passage]:
    """Return the best passages of all queries, each with its best score."""
    top_k, min_score = data.max_num_results, read_threshold(data.ranking_options)
    best: dict[UUID, Passage] = {}
    for query in queries:
        found = await search.search(runtime, caller, query, top_k=top_k, selection=selection, min_score=min_score)
        for passage in found:
            if passage.id not in best or passage.score > best[passage.id].score:
                best[passage.id] = passage
    return sorted(best.values(), key=lambda passage: -passage.score)[:top_k]


def _show(passage: Passage, attributes: Attributes) -> SearchResult:
    return SearchResult(
        str(identify(passage)),
        passage.title,
        passage.score,
        attributes,
        [Text(passage.text)],
        passage.page,
        passage.start,
        passage.end,
    )
