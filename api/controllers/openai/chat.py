"""`POST /v1/chat/completions`: answers from documents as a chat, in the format of OpenAI."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal, cast

import msgspec
from litestar import Controller, Response, post
from litestar.params import JSONBody
from litestar.response import Stream

from api.auth import UserRequest, work_while_current
from api.controllers.openai.conversation import (
    PASSAGES,
    Conversation,
    Message,
    continue_answer,
    count_tokens,
    read_conversation,
)
from api.controllers.openai.models import select_documents
from api.controllers.openai.refusals import require_unset
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI, answer_known_error
from api.http.body_deadlines import work_while_connected
from api.http.links import make_link
from api.permissions import READS
from api.ratelimit import limit_queries
from pipeline.errors import SluiceError
from pipeline.settings import Settings
from pipeline.types import Citation, Passage, Piece, new_id
from pipeline.use_cases import answer

NOT_BUILT: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "logprobs": (False,),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}
"""Fields that would change the answer, and the values of them that ask for nothing."""


class StreamOptions(msgspec.Struct):
    """What a stream contains besides the answer."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A conversation that ends with a question. Parameters of sampling are accepted, and make no difference."""

    model: str
    messages: Annotated[list[Message], msgspec.Meta(max_length=1000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Any = None
    tools: Any = None
    functions: Any = None
    tool_choice: Any = None
    function_call: Any = None
    response_format: Any = None
    modalities: Any = None
    logprobs: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    frequency_penalty: Any = None
    logit_bias: Any = None
    max_completion_tokens: Any = None
    max_tokens: Any = None
    metadata: Any = None
    min_p: Any = None
    parallel_tool_calls: Any = None
    presence_penalty: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    reasoning_effort: Any = None
    repetition_penalty: Any = None
    safety_identifier: Any = None
    seed: Any = None
    service_tier: Any = None
    stop: Any = None
    store: Any = None
    temperature: Any = None
    top_k: Any = None
    top_logprobs: Any = None
    top_p: Any = None
    user: Any = None
    verbosity: Any = None


class UrlCitation(msgspec.Struct):
    """The place of a mark such as `[1]` in the answer, and the source that it cites."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(msgspec.Struct):
    """A citation."""

    url_citation: UrlCitation
    type: Literal["url_citation"] = "url_citation"


class Answered(msgspec.Struct):
    """The message with the answer."""

    content: str
    annotations: list[Annotation]
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class Choice(msgspec.Struct):
    """The only answer."""

    message: Answered
    index: int = 0
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class Usage(msgspec.Struct):
    """Estimates of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(msgspec.Struct):
    """An answer."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    object: Literal["chat.completion"] = "chat.completion"


class Delta(msgspec.Struct, omit_defaults=True):
    """What a chunk adds to the message."""

    role: str | None = None
    content: str | None = None
    annotations: list[Annotation] | None = None


class ChunkChoice(msgspec.Struct):
    """A part of the only answer."""

    delta: Delta
    finish_reason: Literal["stop"] | None = None
    index: int = 0
    logprobs: None = None


class Chunk(msgspec.Struct):
    """A part of the stream."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class ChatController(Controller):
    """Answers chats."""

    path = "/v1/chat/completions"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post("/", status_code=200, guards=[limit_queries], opt=READS)
    async def complete(
        self, request: UserRequest, data: JSONBody[ChatRequest], runtime: RuntimeDependency
    ) -> Response[Completion]:
        """Answer the last message of the user, from all documents and notes, or from the collection in `model`."""
        selection = await select_documents(runtime, request.user, data.model)
        require_unset(data, NOT_BUILT)
        conversation = read_conversation(data.messages, "messages")
        asking = answer.ask(
            runtime,
            request.user,
            conversation.question,
            top_k=PASSAGES,
            selection=selection,
            history=conversation.history,
            wishes=conversation.wishes,
        )
        draft = await work_while_connected(request, work_while_current(request, asking))
        reply = Reply(request, runtime.settings, data, conversation, draft)
        if data.stream:
            # The first words are awaited, so that a failure before them is an ordinary error.
            first = await work_while_connected(request, work_while_current(request, anext(draft.pieces, None)))
            return cast("Response[Completion]", Stream(reply.stream(first), media_type="text/event-stream"))
        written = await work_while_connected(request, work_while_current(request, draft.finish()))
        return Response(reply.complete(written.answer, written.citations))


class Reply:
    """Writes the answer to one request."""

    def __init__(
        self, request: UserRequest, settings: Settings, data: ChatRequest, asked: Conversation, draft: answer.Draft
    ) -> None:
        self._request = request
        self._settings = settings
        self._draft = draft
        self._model = data.model
        self._has_usage = bool(data.stream_options and data.stream_options.include_usage)
        self._asked = asked.text
        self._id = f"chatcmpl-{new_id().hex}"
        self._created = int(time.time())

    def complete(self, text: str, citations: list[Citation]) -> Completion:
        """Return the whole answer."""
        choice = Choice(Answered(text, self._annotate(citations)))
        return Completion(self._id, self._created, self._model, [choice], self._measure(text))

    async def stream(self, first: Piece | None) -> AsyncIterator[bytes]:
        """Yield the events of the answer: its words, its citations, and the end."""
        sent: list[Piece] = []
        yield self._write(Delta(role="assistant", content=""))
        try:
            async with aclosing(continue_answer(self._request, self._draft.pieces, first)) as pieces:
                async for piece in pieces:
                    sent.append(piece)
                    yield self._write(Delta(content=piece.text))
        except SluiceError as error:
            yield write_event(answer_known_error(self._request, error).content)
            return
        completed = self._draft.complete(sent)
        if completed.citations:
            yield self._write(Delta(annotations=self._annotate(completed.citations)))
        yield self._write(Delta(), "stop")
        if self._has_usage:
            usage = self._measure(completed.answer)
            yield write_event(Chunk(self._id, self._created, self._model, [], usage))
        yield b"data: [DONE]\n\n"

    def _write(self, delta: Delta, finish_reason: Literal["stop"] | None = None) -> bytes:
        choice = ChunkChoice(delta, finish_reason)
        return write_event(Chunk(self._id, self._created, self._model, [choice]))

    def _annotate(self, citations: list[Citation]) -> list[Annotation]:
        passages = self._draft.passages
        return [self._annotate_one(citation, passages[citation.number - 1]) for citation in citations]

    def _annotate_one(self, citation: Citation, passage: Passage) -> Annotation:
        link = make_link(self._request, self._settings, passage)
        return Annotation(UrlCitation(citation.start, citation.end, passage.title, link))

    def _measure(self, text: str) -> Usage:
        asked, written = count_tokens(self._asked), count_tokens(text)
        return Usage(asked, written, asked + written)


def write_event(data: msgspec.Struct) -> bytes:
    """Return an event of a stream, without a name."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"
