"""`POST /retrieval`: a collection as an external knowledge base of Dify."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, post
from litestar.exceptions import HTTPException
from litestar.params import JSONBody

from api.auth import UserRequest, find_bearer_token, work_while_current
from api.controllers.openai.searching import identify, read_attributes
from api.deps import RuntimeDependency
from api.errors import Problem, answer_like_openai
from api.http.body_deadlines import work_while_connected
from api.permissions import READS
from api.ratelimit import limit_queries
from api.schemas import NO_NUL, Question, TopK
from pipeline import filters
from pipeline.errors import FieldError, InvalidInput, NotAuthenticated, NotFound, SluiceError
from pipeline.runtime import Runtime
from pipeline.types import Attributes, Filter, Passage, Selection
from pipeline.use_cases import collections, search

OPERATORS = {
    "is": "eq",
    "is not": "ne",
    "=": "eq",
    "≠": "ne",
    ">": "gt",
    "≥": "gte",
    "<": "lt",
    "≤": "lte",
    "in": "in",
    "not in": "nin",
    "contains": "contains",
}
"""Operators of conditions, and those of filters that mean the same."""
OF_NUMBERS = frozenset("=≠>≥<≤")
"""Operators whose values are numbers, although Dify sends some of them as texts."""
EXISTENCE = {"empty": False, "not empty": True}

NO_KEY, WRONG_KEY, NO_KNOWLEDGE = 1001, 1002, 2001
"""Codes of errors that Dify defines. For others, the code is the status."""


class Condition(msgspec.Struct, forbid_unknown_fields=True):
    """A condition on the metadata of documents."""

    name: Annotated[str, msgspec.Meta(min_length=1, pattern=NO_NUL)]
    comparison_operator: str
    value: str | int | float | list[str | int | float] | None = None


class Conditions(msgspec.Struct, forbid_unknown_fields=True):
    """Conditions that all hold, or one of them."""

    conditions: Annotated[list[Condition], msgspec.Meta(max_length=filters.MAX_CONDITIONS)] = []
    logical_operator: Literal["and", "or"] = "and"


class RetrievalSetting(msgspec.Struct, forbid_unknown_fields=True):
    """Maximum number of passages, and the score below which they are dropped."""

    top_k: TopK
    score_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    score_threshold_enabled: bool = True


class RetrievalRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A question, and the id of a collection."""

    knowledge_id: str
    query: Question
    retrieval_setting: RetrievalSetting
    metadata_condition: Conditions | None = None


class Record(msgspec.Struct):
    """A passage."""

    content: str
    score: float
    title: str
    metadata: dict[str, Any]


class Records(msgspec.Struct):
    """Passages, best first."""

    records: list[Record]


def answer_like_dify(request: Request[Any, Any, Any], error: SluiceError | HTTPException) -> Response[dict[str, Any]]:
    """Return the response as on other routes, with Dify's codes. A wrong key is 403: Dify takes 401 for success."""
    response: Response[Problem] = answer_like_openai(request, error)
    code: int = response.status_code or 500
    if isinstance(error, NotAuthenticated):
        response.status_code = response.content.status = 403
        response.content.title = "Forbidden"
        code = WRONG_KEY if find_bearer_token(request.headers) else NO_KEY
    elif isinstance(error, NotFound):
        code = NO_KNOWLEDGE
    body = msgspec.to_builtins(response.content) | {"error_code": code, "error_msg": response.content.error.message}
    return Response(
        body, status_code=response.status_code, headers=response.headers, media_type="application/problem+json"
    )


class DifyController(Controller):
    """Retrieves passages for Dify."""

    path = "/retrieval"
    include_in_schema = False
    exception_handlers = {SluiceError: answer_like_dify, HTTPException: answer_like_dify}  # noqa: RUF012 - Litestar's way

    @post("/", status_code=200, guards=[limit_queries], opt=READS)
    async def retrieve(
        self, request: UserRequest, data: JSONBody[RetrievalRequest], runtime: RuntimeDependency
    ) -> Records:
        """Search a collection."""
        return await work_while_connected(request, work_while_current(request, _retrieve(request, data, runtime)))


async def _retrieve(request: UserRequest, data: RetrievalRequest, runtime: Runtime) -> Records:
    search.require_word(data.query)
    try:
        collection_id = UUID(data.knowledge_id)
    except ValueError:
        raise NotFound("This collection does not exist. Send the id of a collection as `knowledge_id`.") from None
    await collections.get(runtime, request.user, collection_id)
    conditions = data.metadata_condition
    selection = Selection([collection_id], None, _read_filter(conditions) if conditions else None)
    setting = data.retrieval_setting
    least = setting.score_threshold if setting.score_threshold_enabled else None
    passages = await search.search(
        runtime, request.user, data.query, top_k=setting.top_k, selection=selection, min_score=least or 0.0
    )
    attributes = await read_attributes(runtime, request.user, [collection_id], passages)
    return Records([_show(passage, attributes) for passage in passages])


def _read_filter(given: Conditions) -> Filter | None:
    if not given.conditions:
        return None
    return filters.decode({given.logical_operator: [_translate(one) for one in given.conditions]}, "metadata_condition")


def _translate(given: Condition) -> Mapping[str, Any]:
    """Return a condition of a filter.

    Raises InvalidInput if there is none that means the same.
    """
    if given.comparison_operator in EXISTENCE:
        return {"key": given.name, "op": "exists", "value": EXISTENCE[given.comparison_operator]}
    operator = OPERATORS.get(given.comparison_operator)
    if operator is None:
        raise _refuse(f"has the operator `{given.comparison_operator}`, which is not built")
    value = given.value
    if operator in ("in", "nin") and isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if given.comparison_operator in OF_NUMBERS and isinstance(value, str):
        value = _read_number(value)
    return {"key": given.name, "op": operator, "value": value}


def _read_number(text: str) -> float:
    try:
        return msgspec.json.decode(text, type=float)  # Python would also read `nan` and `inf`
    except msgspec.DecodeError:
        raise _refuse(f"compares with `{text[:100]}`, which is not a number") from None


def _refuse(problem: str) -> InvalidInput:
    problems = (FieldError("metadata_condition", problem),)
    return InvalidInput(f"`metadata_condition` {problem}. Use another operator.", errors=problems)


def _show(passage: Passage, attributes: Mapping[UUID, Attributes]) -> Record:
    subject_id = identify(passage)
    place = {"document_id": str(subject_id), "page": passage.page, "start": passage.start, "end": passage.end}
    return Record(passage.text, passage.score, passage.title, {**attributes.get(subject_id, {}), **place})
