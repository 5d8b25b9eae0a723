"""Streams of server-sent events: changes to documents and notes as they happen."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Annotated, cast
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.datastructures import State
from litestar.params import FromPath, HeaderParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from api.auth import UserRequest, require_valid, work_while_current
from api.deps import RuntimeDependency
from api.http.operations import EventsOperation, problems
from api.http.protocol import ENDLESS
from pipeline.errors import FieldError, InvalidInput, SluiceError, TooManyRequests
from pipeline.logs import get_logger
from pipeline.types import Change, Deleted, Document, NoteState
from pipeline.use_cases import events

MAX_STREAMS = 100
"""Maximum number of open streams per account and process. Each holds a connection for an unlimited time."""
MAX_EVENT_ID = 10**17
"""No event has a larger id: it is a time in the year 5138, in microseconds since 1970."""
RETRY_MILLISECONDS = 1000
"""Reconnection delay that streams suggest to clients."""
EVENT_NAMES: dict[type[Document | NoteState | Deleted], str] = {
    Document: "document",
    NoteState: "note",
    Deleted: "deleted",
}

LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", pattern=r"^\d{1,18}$", description="`id` of the last event received."),
]

log = get_logger()


class OpenStreams:
    """Counts the open streams of each account."""

    def __init__(self, limit: int = MAX_STREAMS) -> None:
        self._limit = limit
        self.open: Counter[UUID] = Counter()
        """Open streams by account. Accounts without any have no entry."""

    @contextmanager
    def count(self, user_id: UUID) -> Iterator[None]:
        """Count one more stream until the block ends.

        Raises TooManyRequests if the account has reached the limit.
        """
        if self.open[user_id] >= self._limit:
            message = f"You have {self._limit} event streams open. Close some, or follow only /v1/events."
            raise TooManyRequests(message, code="too_many_streams", retry_after_seconds=30)
        self.open[user_id] += 1
        try:
            yield
        finally:
            self.open[user_id] -= 1
            self.open += Counter()  # drops the zeros


class EventController(Controller):
    """Streams changes to clients, so that they need not poll."""

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
        """Stream the current state of a document and every change to its status or progress, as `document` events.

        The stream ends when the document is `ready` or `failed`, or with a `deleted` event.
        204 if `Last-Event-ID` shows that the client already has the final state.
        """
        changes = events.follow_document(runtime, request.user, document_id, _parse(last_event_id))
        return await _answer(request, state, changes)

    @get(
        "/events",
        summary="Follow all your documents and notes",
        responses=problems(401, 422, 429),
        operation_class=EventsOperation,
    )
    async def follow(
        self, request: UserRequest, runtime: RuntimeDependency, state: State, last_event_id: LastEventId = None
    ) -> Response[None]:
        """Stream changes to the caller's documents and notes, as `document`, `note` and `deleted` events.

        The stream begins with the current state of unfinished documents and notes. With `Last-Event-ID`, it begins with
        those that have changed since that event. The same state may be sent twice. Deletions that happen while the
        client is disconnected are not sent. The stream ends when the token or key expires or ends.
        """
        return await _answer(request, state, events.follow(runtime, request.user, _parse(last_event_id)))


def _parse(last_event_id: str | None) -> int | None:
    """Return the event's time in microseconds since 1970.

    Raises InvalidInput if no stream has sent this id.
    """
    last_id = int(last_event_id) if last_event_id else None
    if last_id and last_id > MAX_EVENT_ID:
        message = "`Last-Event-ID` is not the id of an event. Leave it out to start from the current state."
        raise InvalidInput(message, errors=(FieldError("Last-Event-ID", "is too large"),))
    return last_id


@dataclass
class Events(ServerSentEventMessage):
    """Several events, which are sent together: sending each alone costs more than all the rest."""

    changes: Sequence[Change] = ()

    def encode(self) -> bytes:
        """Return the events as a client reads them, one after the other."""
        return b"".join(_to_message(change).encode() for change in self.changes)


async def _answer(request: UserRequest, state: State, changes: AsyncGenerator[list[Change]]) -> Response[None]:
    """Return the stream, or 204 if it has no events. An error before the first event becomes the response."""
    open_streams: OpenStreams = state.open_streams
    stream = _stream(request, open_streams, changes)
    try:
        first = await anext(stream)
    except StopAsyncIteration:
        return Response(None, status_code=204)
    request.scope["state"][ENDLESS] = True
    return cast("Response[None]", ServerSentEvent(_prepend(first, stream)))


async def _prepend(first: Events, rest: AsyncIterator[Events]) -> AsyncIterator[Events]:
    yield first
    try:
        async for following in rest:
            yield following
    except SluiceError as error:
        # The client reconnects with its last event id, and then gets this error as a response.
        log.warning("events.interrupted", cause=repr(error))


async def _stream(
    request: UserRequest, open_streams: OpenStreams, changes: AsyncGenerator[list[Change]]
) -> AsyncIterator[Events]:
    with open_streams.count(request.user.owner_id):
        async with aclosing(changes) as following:
            while batch := await work_while_current(request, anext(following, None)):
                await require_valid(request)
                yield Events(changes=batch)


def _to_message(change: Change) -> ServerSentEventMessage:
    if change.state is None:
        return ServerSentEventMessage(data=None, comment="", id=change.id, retry=RETRY_MILLISECONDS)
    data = msgspec.json.encode(change.state).decode()
    return ServerSentEventMessage(data=data, event=EVENT_NAMES[type(change.state)], id=change.id)
