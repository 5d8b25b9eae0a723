"""`POST /v1/ask`: answers a question, as JSON or as a stream of server-sent events."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import msgspec
from litestar import Controller, Response, post
from litestar.params import JSONBody
from litestar.response import ServerSentEvent, ServerSentEventMessage

from api.auth import UserRequest, work_while_current
from api.deps import RuntimeDependency
from api.errors import answer_known_error
from api.http.body_deadlines import work_while_connected
from api.http.operations import AskOperation, problems
from api.permissions import READS
from api.ratelimit import limit_queries
from api.schemas import AskRequest
from pipeline.errors import FieldError, InvalidInput, SluiceError
from pipeline.types import Answer, Citation, Passage
from pipeline.use_cases import answer

JSON = "application/json"
EVENTS = "text/event-stream"


class PassagesEvent(msgspec.Struct):
    """Event `passages`: the passages to answer from, and the model that writes the answer."""

    passages: list[Passage]
    model: str


class TokenEvent(msgspec.Struct):
    """Event `token`: the next words of the answer."""

    text: str


class DoneEvent(msgspec.Struct):
    """Event `done`: the complete answer. Its passages were sent in the event `passages`."""

    answer: str
    citations: list[Citation]
    model: str


class AskController(Controller):
    """Answers questions."""

    path = "/v1"
    tags = ("Queries",)

    @post(
        "/ask",
        status_code=200,
        summary="Answer a question from matching passages",
        responses=problems(401, 422, 429),
        operation_class=AskOperation,
        guards=[limit_queries],
        opt=READS,
    )
    async def ask(
        self, request: UserRequest, data: JSONBody[AskRequest], runtime: RuntimeDependency
    ) -> Response[Answer]:
        """Answer from the caller's documents and notes. The answer cites passages.

        `collection_ids`, `document_ids` and `filter` choose some of the documents and notes, as for a search.

        A citation is a mark such as `[1]`, which cites the first passage. With `Accept: text/event-stream`, the
        response is a stream of events: `passages`, any number of `token`, then `done`. If the language model fails,
        the last event is `error`, and its data is the problem. If the client disconnects, the answer is cancelled.
        """
        streams = _wants_events(request)
        question = data.read_text("question")
        asking = answer.ask(
            runtime,
            request.user,
            question,
            top_k=data.top_k,
            selection=data.read_selection(),
            history=data.read_history(),
            min_score=data.min_score,
            has_details=data.details,
        )
        draft = await work_while_connected(request, work_while_current(request, asking))
        if streams:
            return cast("Response[Answer]", ServerSentEvent(_stream(request, draft)))
        return Response(await work_while_connected(request, work_while_current(request, draft.finish())))


def _wants_events(request: UserRequest) -> bool:
    """Tell whether `Accept` prefers an event stream.

    Raises InvalidInput if its weights cannot be compared.
    """
    try:
        return request.accept.best_match([JSON, EVENTS]) == EVENTS
    except OverflowError:  # for example `q=inf`
        message = "The `Accept` header is not valid. Use weights from 0 to 1."
        raise InvalidInput(
            message, errors=(FieldError("Accept", "has a weight that is not a number from 0 to 1"),)
        ) from None


async def _stream(request: UserRequest, draft: answer.Draft) -> AsyncIterator[ServerSentEventMessage]:
    yield _event("passages", PassagesEvent(draft.passages, draft.model))
    sent = []
    try:
        async with aclosing(draft.pieces) as pieces:
            while piece := await work_while_current(request, anext(pieces, None)):
                sent.append(piece)
                yield _event("token", TokenEvent(piece.text))
    except SluiceError as error:
        yield _event("error", answer_known_error(request, error).content)
        return
    completed = draft.complete(sent)
    yield _event("done", DoneEvent(completed.answer, completed.citations, completed.model))


def _event(name: str, data: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(data).decode(), event=name)
