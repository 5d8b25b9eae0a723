"""`POST /v1/rerank` and `POST /v2/rerank`: scores of texts, in the formats of Jina and Cohere."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, post
from litestar.params import JSONBody

from api.auth import UserRequest, work_while_current
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI
from api.http.body_deadlines import work_while_connected
from api.permissions import READS
from api.ratelimit import limit_queries
from api.schemas import NO_NUL, Question
from pipeline.types import new_id
from pipeline.use_cases import reranking

MAX_TEXTS = 1000
"""Maximum number of texts in a request, as at Cohere."""

Text = Annotated[str, msgspec.Meta(pattern=NO_NUL)]


class TextObject(msgspec.Struct, forbid_unknown_fields=True):
    """A text in an object."""

    text: Text


class RerankRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A question, and texts that may answer it. There is one reranker, so `model` makes no difference."""

    query: Question
    documents: Annotated[list[Text | TextObject], msgspec.Meta(min_length=1, max_length=MAX_TEXTS)]
    model: str | None = None
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_documents: bool = False


class Relevance(msgspec.Struct, omit_defaults=True):
    """The place of a text in the request, and how well it answers the question."""

    index: int
    relevance_score: float
    document: TextObject | None = None


class Ranking(msgspec.Struct):
    """The texts that answer best, the best first."""

    id: str
    results: list[Relevance]
    meta: dict[str, Any]


class RerankController(Controller):
    """Reranks texts. Nothing is stored."""

    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post(["/v1/rerank", "/v2/rerank"], status_code=200, guards=[limit_queries], opt=READS)
    async def rerank(self, request: UserRequest, data: JSONBody[RerankRequest], runtime: RuntimeDependency) -> Ranking:
        """Return the best `top_n` texts, or all."""
        texts = [document if isinstance(document, str) else document.text for document in data.documents]
        scoring = reranking.rerank(runtime, data.query, texts)
        ranked = await work_while_connected(request, work_while_current(request, scoring))
        results = [
            Relevance(place, score, TextObject(texts[place]) if data.return_documents else None)
            for place, score in ranked[: data.top_n]
        ]
        version = request.url.path.strip("/").partition("/")[0].removeprefix("v")
        return Ranking(str(new_id()), results, {"api_version": {"version": version}})
