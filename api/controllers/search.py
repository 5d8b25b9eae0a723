"""`POST /v1/search`: returns the passages that best match a query."""

from time import perf_counter

import msgspec
from litestar import Controller, post
from litestar.params import JSONBody

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.http.operations import problems
from api.permissions import READS
from api.ratelimit import limit_queries
from api.schemas import SearchRequest
from pipeline.types import Passage
from pipeline.use_cases import search


class SearchResult(msgspec.Struct):
    """The best passages, best first, and the duration of the search."""

    passages: list[Passage]
    took_ms: float


class SearchController(Controller):
    """Finds passages."""

    path = "/v1"
    tags = ("Queries",)

    @post(
        "/search",
        status_code=200,
        summary="Find the passages that best match a query",
        responses=problems(401, 422, 429),
        guards=[limit_queries],
        opt=READS,
    )
    async def search(
        self, request: UserRequest, data: JSONBody[SearchRequest], runtime: RuntimeDependency
    ) -> SearchResult:
        """Search the caller's documents and notes, or only those in `collection_ids`, `document_ids` and the `filter`.

        The passages have the order of their scores, the best first. A score, 0 to 1, is the estimated probability that
        the passage is relevant. Passages below `min_score` are left out. If the operator has set a reranker, the
        passages have its order in the modes `hybrid` and `vector`.
        """
        started = perf_counter()
        query = data.read_text("query")
        passages = await search.search(
            runtime,
            request.user,
            query,
            mode=data.mode,
            top_k=data.top_k,
            selection=data.read_selection(),
            min_score=data.min_score,
            has_details=data.details,
        )
        return SearchResult(passages, round(1000 * (perf_counter() - started), 2))
