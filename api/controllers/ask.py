"""Questions."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import msgspec
from litestar import Controller, Response, post
from litestar.params import JSONBody
from litestar.response import ServerSentEvent, ServerSentEventMessage

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.errors import answer_known_error
from api.http.body_deadlines import work_while_connected
from api.http.operations import AskOperation, problems
from api.ratelimit import limit_queries
from api.schemas import AskRequest
from pipeline.errors import SluiceError
from pipeline.types import Answer, Passage
from pipeline.use_cases import answer

JSON = "application/json"
EVENTS = "text/event-stream"


class Found(msgspec.Struct):
    """Event `passages`: what the answer is made from, and by whom."""

    passages: list[Passage]
    model: str


class Words(msgspec.Struct):
    """Event `token`: the next words of the answer."""

    text: str


class Done(msgspec.Struct):
    """Event `done`: the whole answer. Its passages have been sent."""

    answer: str
    citations: list[int]
    model: str


class AskController(Controller):
    """Answer questions."""

    path = "/v1"
    tags = ("Queries",)

    @post(
        "/ask",
        status_code=200,
        summary="Answer a question from the passages that are found",
        responses=problems(401, 422, 429),
        operation_class=AskOperation,
        guards=[limit_queries],
    )
    async def ask(
        self, request: UserRequest, data: JSONBody[AskRequest], runtime: RuntimeDependency
    ) -> Response[Answer]:
        """Answer from the caller's documents, or some of them, citing passages as `[n]`, from 0.

        With `Accept: text/event-stream` the answer is a stream of events: `passages`, `token`…, and `done`; or `error`,
        whose data is the problem, where the language model fails. A client that leaves stops the answer.
        """
        asking = answer.ask(runtime, request.user, data.question, top_k=data.top_k, document_ids=data.document_ids)
        draft = await work_while_connected(request, asking)
        if request.accept.best_match([JSON, EVENTS]) == EVENTS:
            return cast("Response[Answer]", ServerSentEvent(_stream(request, draft)))
        return Response(await work_while_connected(request, draft.finish()))


async def _stream(request: UserRequest, draft: answer.Draft) -> AsyncIterator[ServerSentEventMessage]:
    yield _event("passages", Found(draft.passages, draft.model))
    said = []
    try:
        async with aclosing(draft.pieces) as pieces:
            async for piece in pieces:
                said.append(piece)
                yield _event("token", Words(piece.text))
    except SluiceError as error:
        yield _event("error", answer_known_error(request, error).content)
        return
    whole = draft.complete(said)
    yield _event("done", Done(whole.answer, whole.citations, whole.model))


def _event(name: str, data: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(data).decode(), event=name)
