"""What changes, as it happens: streams of server-sent events."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.datastructures import State
from litestar.params import FromPath, HeaderParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.http.operations import EventsOperation, problems
from api.http.protocol import ENDLESS
from api.tokens import Tokens
from pipeline.errors import SluiceError, TooManyRequests
from pipeline.logs import get_logger
from pipeline.types import Change, Deleted, Document, NoteState
from pipeline.use_cases import events

MAX_STREAMS = 100
"""Of one user in one process: each holds a connection for as long as it likes."""
RETRY_MILLISECONDS = 1000
EVENT_NAMES: dict[type[Document | NoteState | Deleted], str] = {
    Document: "document",
    NoteState: "note",
    Deleted: "deleted",
}

LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", pattern=r"^\d{1,18}$", description="`id` of the last event that arrived."),
]

log = get_logger()


class OpenStreams:
    """How many streams each user has open."""

    def __init__(self, limit: int = MAX_STREAMS) -> None:
        self._limit = limit
        self._open: Counter[UUID] = Counter()

    @contextmanager
    def count(self, user_id: UUID) -> Iterator[None]:
        """Count one more until the block ends.

        Raises TooManyRequests.
        """
        if self._open[user_id] >= self._limit:
            message = f"You have {self._limit} streams of events open. Close some, or follow /v1/events alone."
            raise TooManyRequests(message, code="too_many_streams", retry_after_seconds=30)
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open[user_id] -= 1
            self._open += Counter()  # keeps those above zero


class EventController(Controller):
    """Follow what changes instead of asking again and again."""

    path = "/v1"
    tags = ("Events",)

    @get(
        "/documents/{document_id:uuid}/events",
        summary="Follow a document",
        responses=problems(401, 404, 422, 429),
        operation_class=EventsOperation,
    )
    async def follow_document(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        state: State,
        document_id: FromPath[UUID],
        last_event_id: LastEventId = None,
    ) -> Response[None]:
        """Stream the document as it is, and again whenever its status or progress changes: events `document`.

        Ends when it is `ready` or `failed`; 204 where `Last-Event-ID` says that the client knows that already.
        """
        changes = events.follow_document(runtime, request.user, document_id, _parse(last_event_id))
        return await _answer(request, state, changes)

    @get(
        "/events",
        summary="Follow everything of yours",
        responses=problems(401, 422, 429),
        operation_class=EventsOperation,
    )
    async def follow(
        self, request: UserRequest, runtime: RuntimeDependency, state: State, last_event_id: LastEventId = None
    ) -> Response[None]:
        """Stream changes of the caller's documents and notes: events `document`, `note` and `deleted`.

        First come those that are unfinished or, with `Last-Event-ID`, those that have changed since; the same state
        may come twice, and what was deleted meanwhile is not told. Ends when the token expires.
        """
        return await _answer(request, state, events.follow(runtime, request.user, _parse(last_event_id)))


def _parse(last_event_id: str | None) -> int | None:
    return int(last_event_id) if last_event_id else None


async def _answer(request: UserRequest, state: State, changes: AsyncGenerator[Change]) -> Response[None]:
    """Answer with a stream, or with the problem that shows before its first event."""
    open_streams: OpenStreams = state.open_streams
    stream = _stream(request, state.tokens, open_streams, changes)
    try:
        first = await anext(stream)
    except StopAsyncIteration:
        return Response(None, status_code=204)
    request.scope["state"][ENDLESS] = True
    return cast("Response[None]", ServerSentEvent(_prepend(first, stream)))


async def _prepend(
    first: ServerSentEventMessage, rest: AsyncIterator[ServerSentEventMessage]
) -> AsyncIterator[ServerSentEventMessage]:
    yield first
    try:
        async for message in rest:
            yield message
    except SluiceError as error:
        # The client comes again by itself, behind its last event, and is then told what is wrong.
        log.warning("events.interrupted", cause=repr(error))


async def _stream(
    request: UserRequest, tokens: Tokens, open_streams: OpenStreams, changes: AsyncGenerator[Change]
) -> AsyncIterator[ServerSentEventMessage]:
    with open_streams.count(request.user):
        async with aclosing(changes) as following:
            async for change in following:
                tokens.verify(request.auth)
                yield _to_message(change)


def _to_message(change: Change) -> ServerSentEventMessage:
    if change.state is None:
        return ServerSentEventMessage(data=None, comment="", id=change.id, retry=RETRY_MILLISECONDS)
    data = msgspec.json.encode(change.state).decode()
    return ServerSentEventMessage(data=data, event=EVENT_NAMES[type(change.state)], id=change.id)
