"""`POST /v1/responses`: answers from documents as responses with a file search, in the format of OpenAI."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal, cast
from uuid import UUID

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
from api.controllers.openai.refusals import refuse, require_unset
from api.controllers.openai.searching import (
    RankingOptions,
    identify,
    read_attributes,
    read_filters,
    read_threshold,
)
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI, answer_known_error
from api.http.body_deadlines import work_while_connected
from api.permissions import READS
from api.ratelimit import limit_queries
from api.schemas import TopK
from pipeline.errors import NotFound, SluiceError
from pipeline.properties import MAX_COLLECTION_IDS
from pipeline.runtime import Runtime
from pipeline.types import Attributes, Caller, Citation, Passage, Piece, Selection, new_id
from pipeline.use_cases import answer, collections

RESULTS = "file_search_call.results"
"""What `include` may ask for: the passages that were found."""
NOT_BUILT: dict[str, tuple[Any, ...]] = {
    "previous_response_id": (),
    "conversation": (),
    "background": (False,),
    "prompt": (),
    "reasoning": ({},),
    "text": ({"format": {"type": "text"}}, {}),
    "top_logprobs": (0,),
}
"""Fields that would change the answer, and the values of them that ask for nothing."""


class FileSearch(msgspec.Struct, forbid_unknown_fields=True):
    """The tool: which collections to search, and how."""

    type: str
    vector_store_ids: Annotated[list[str], msgspec.Meta(max_length=MAX_COLLECTION_IDS)] = []
    max_num_results: TopK | None = None
    filters: dict[str, Any] | None = None
    ranking_options: RankingOptions | None = None


class ResponseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A question or a conversation. Parameters of sampling are accepted, and make no difference."""

    model: str
    input: str | Annotated[list[Message], msgspec.Meta(max_length=1000)]
    instructions: str | None = None
    tools: list[FileSearch] | None = None
    include: list[Literal["file_search_call.results"]] | None = None
    stream: bool | None = None
    previous_response_id: Any = None
    conversation: Any = None
    background: Any = None
    prompt: Any = None
    reasoning: Any = None
    text: Any = None
    top_logprobs: Any = None
    max_output_tokens: Any = None
    max_tool_calls: Any = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: Any = None
    prompt_cache_key: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None
    stream_options: Any = None
    temperature: float | None = None
    tool_choice: Literal["auto", "required"] | None = None
    top_p: float | None = None
    truncation: Any = None
    user: Any = None


class FoundFile(msgspec.Struct):
    """A passage that was found. Attributes are those in the first of the collections that has the file."""

    file_id: str
    filename: str
    score: float
    text: str
    attributes: Attributes | None


class FileSearchCall(msgspec.Struct, tag_field="type", tag="file_search_call"):
    """The search."""

    id: str
    queries: list[str]
    status: Literal["in_progress", "completed"]
    results: list[FoundFile] | None = None


class FileCitation(msgspec.Struct):
    """A mark such as `[1]` at character `index` of the answer, and the file that it cites."""

    index: int
    file_id: str
    filename: str
    type: Literal["file_citation"] = "file_citation"


class OutputText(msgspec.Struct):
    """The text of the answer."""

    text: str = ""
    annotations: list[FileCitation] = []
    logprobs: list[None] = []
    type: Literal["output_text"] = "output_text"


class OutputMessage(msgspec.Struct, tag_field="type", tag="message"):
    """The answer."""

    id: str
    content: list[OutputText]
    status: Literal["in_progress", "completed"]
    role: Literal["assistant"] = "assistant"


class CachedTokens(msgspec.Struct, frozen=True):
    """Tokens that were not read again."""

    cached_tokens: int = 0


class ReasoningTokens(msgspec.Struct, frozen=True):
    """Tokens that are not shown."""

    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct):
    """Estimates of tokens."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: CachedTokens = CachedTokens()
    output_tokens_details: ReasoningTokens = ReasoningTokens()


class ResponseError(msgspec.Struct):
    """Why there is no answer."""

    code: str
    message: str


class ResponseObject(msgspec.Struct):
    """A response."""

    id: str
    created_at: int
    model: str
    status: Literal["in_progress", "completed", "failed"]
    instructions: str | None
    tools: list[FileSearch]
    metadata: dict[str, str]
    temperature: float | None
    top_p: float | None
    output: list[FileSearchCall | OutputMessage] = []
    usage: ResponseUsage | None = None
    error: ResponseError | None = None
    incomplete_details: None = None
    parallel_tool_calls: bool = False
    tool_choice: Literal["auto"] = "auto"
    object: Literal["response"] = "response"


class Event(msgspec.Struct, omit_defaults=True):
    """An event of a stream. Each type has some of the fields."""

    type: str
    sequence_number: int
    response: ResponseObject | None = None
    output_index: int | None = None
    item_id: str | None = None
    item: FileSearchCall | OutputMessage | None = None
    content_index: int | None = None
    part: OutputText | None = None
    delta: str | None = None
    text: str | None = None
    logprobs: list[None] | None = None
    annotation_index: int | None = None
    annotation: FileCitation | None = None


class ResponseController(Controller):
    """Answers in the format of responses. They are not stored."""

    path = "/v1/responses"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post("/", status_code=200, guards=[limit_queries], opt=READS)
    async def respond(
        self, request: UserRequest, data: JSONBody[ResponseRequest], runtime: RuntimeDependency
    ) -> Response[ResponseObject]:
        """Answer the last message of the user, from the collections that `file_search` names, or from everything."""
        require_unset(data, NOT_BUILT)
        messages = [Message("user", data.input)] if isinstance(data.input, str) else data.input
        conversation = read_conversation(messages, "input", data.instructions)
        tool = _read_tool(data.tools)
        selection = await _select(runtime, request.user, data.model, tool)
        asking = answer.ask(
            runtime,
            request.user,
            conversation.question,
            top_k=tool.max_num_results or PASSAGES if tool else PASSAGES,
            selection=selection,
            min_score=read_threshold(tool.ranking_options if tool else None),
            history=conversation.history,
            wishes=conversation.wishes,
        )
        draft = await work_while_connected(request, work_while_current(request, asking))
        attributes: dict[UUID, Attributes] = {}
        if RESULTS in (data.include or ()):
            named = list(selection.collection_ids or ())
            attributes = await read_attributes(runtime, request.user, named, draft.passages)
        reply = Reply(request, data, conversation, draft, attributes)
        if data.stream:
            first = await work_while_connected(request, work_while_current(request, anext(draft.pieces, None)))
            return cast("Response[ResponseObject]", Stream(reply.stream(first), media_type="text/event-stream"))
        written = await work_while_connected(request, work_while_current(request, draft.finish()))
        return Response(reply.complete(written.answer, written.citations))


def _read_tool(tools: Sequence[FileSearch] | None) -> FileSearch | None:
    """Return the only tool.

    Raises InvalidInput if there are several, or if one asks for what is not built.
    """
    if not tools:
        return None
    [tool, *others] = tools
    if others or tool.type != "file_search":
        raise refuse("tools", "has other tools than one `file_search`")
    return tool


async def _select(runtime: Runtime, caller: Caller, model: str, tool: FileSearch | None) -> Selection:
    """Return what to search.

    Raises NotFound if there is no such model or collection, InvalidInput if the filters are invalid.
    """
    selection = await select_documents(runtime, caller, model)
    if tool is None:
        return selection
    if selection.collection_ids is not None and tool.vector_store_ids:
        raise refuse("tools", "names collections, and so does the model")
    chosen = [await _find_collection(runtime, caller, given) for given in tool.vector_store_ids]
    return Selection(chosen or selection.collection_ids, None, read_filters(tool.filters))


async def _find_collection(runtime: Runtime, caller: Caller, given: str) -> UUID:
    try:
        collection_id = UUID(given)
    except ValueError:
        raise NotFound("This collection does not exist. Check `vector_store_ids`.") from None
    return (await collections.get(runtime, caller, collection_id)).id


class Reply:
    """Writes the answer to one request."""

    def __init__(
        self,
        request: UserRequest,
        data: ResponseRequest,
        asked: Conversation,
        draft: answer.Draft,
        attributes: Mapping[UUID, Attributes],
    ) -> None:
        self._attributes = attributes
        self._request = request
        self._data = data
        self._draft = draft
        self._asked = asked.text
        self._id = f"resp_{new_id().hex}"
        self._created = int(time.time())
        self._call_id = f"fs_{new_id().hex}"
        self._message_id = f"msg_{new_id().hex}"
        self._sequence = 0

    def complete(self, text: str, citations: Sequence[Citation]) -> ResponseObject:
        """Return the whole response."""
        asked, written = count_tokens(self._asked), count_tokens(text)
        response = self._begin("completed")
        response.output = [self._search("completed"), self._say("completed", text, self._cite(citations))]
        response.usage = ResponseUsage(asked, written, asked + written)
        return response

    async def stream(self, first: Piece | None) -> AsyncIterator[bytes]:
        """Yield the events of the response in the order that SDKs need."""
        yield self._write("response.created", response=self._begin("in_progress"))
        yield self._write("response.in_progress", response=self._begin("in_progress"))
        for event in self._write_search():
            yield event
        message = self._say("in_progress")
        yield self._write("response.output_item.added", output_index=1, item=message)
        yield self._write_part("response.content_part.added", part=OutputText())
        sent: list[Piece] = []
        try:
            async with aclosing(continue_answer(self._request, self._draft.pieces, first)) as pieces:
                async for piece in pieces:
                    sent.append(piece)
                    yield self._write_part("response.output_text.delta", delta=piece.text, logprobs=[])
        except SluiceError as error:
            problem = answer_known_error(self._request, error).content
            failed = self._begin("failed")
            failed.error = ResponseError("server_error", problem.detail)
            yield self._write("response.failed", response=failed)
            return
        written = self._draft.complete(sent)
        response = self.complete(written.answer, written.citations)
        for event in self._write_end(written.answer, self._cite(written.citations)):
            yield event
        yield self._write("response.completed", response=response)

    def _write_search(self) -> list[bytes]:
        """Return the events of the search, which has been done."""
        steps = ("in_progress", "searching", "completed")
        return [
            self._write("response.output_item.added", output_index=0, item=self._search("in_progress")),
            *(
                self._write(f"response.file_search_call.{step}", output_index=0, item_id=self._call_id)
                for step in steps
            ),
            self._write("response.output_item.done", output_index=0, item=self._search("completed")),
        ]

    def _write_end(self, text: str, citations: list[FileCitation]) -> list[bytes]:
        """Return the events after the words."""
        return [
            *(
                self._write_part("response.output_text.annotation.added", annotation_index=index, annotation=citation)
                for index, citation in enumerate(citations)
            ),
            self._write_part("response.output_text.done", text=text, logprobs=[]),
            self._write_part("response.content_part.done", part=OutputText(text, citations)),
            self._write("response.output_item.done", output_index=1, item=self._say("completed", text, citations)),
        ]

    def _begin(self, status: Literal["in_progress", "completed", "failed"]) -> ResponseObject:
        data = self._data
        return ResponseObject(
            id=self._id,
            created_at=self._created,
            model=data.model,
            status=status,
            instructions=data.instructions,
            tools=data.tools or [],
            metadata=data.metadata or {},
            temperature=data.temperature,
            top_p=data.top_p,
        )

    def _search(self, status: Literal["in_progress", "completed"]) -> FileSearchCall:
        results = None
        if status == "completed" and RESULTS in (self._data.include or ()):
            results = [_show(passage, self._attributes) for passage in self._draft.passages]
        return FileSearchCall(self._call_id, [self._draft.question], status, results)

    def _say(
        self, status: Literal["in_progress", "completed"], text: str = "", citations: Sequence[FileCitation] = ()
    ) -> OutputMessage:
        content = [OutputText(text, list(citations))] if status == "completed" else []
        return OutputMessage(self._message_id, content, status)

    def _cite(self, citations: Sequence[Citation]) -> list[FileCitation]:
        cited = [(citation, self._draft.passages[citation.number - 1]) for citation in citations]
        return [FileCitation(citation.start, _name(passage), passage.title) for citation, passage in cited]

    def _write_part(self, kind: str, **fields: Any) -> bytes:
        return self._write(kind, output_index=1, item_id=self._message_id, content_index=0, **fields)

    def _write(self, kind: str, **fields: Any) -> bytes:
        event = Event(kind, self._sequence, **fields)
        self._sequence += 1
        return f"event: {kind}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n"


def _name(passage: Passage) -> str:
    return str(identify(passage))


def _show(passage: Passage, attributes: Mapping[UUID, Attributes]) -> FoundFile:
    found = attributes.get(identify(passage))
    return FoundFile(_name(passage), passage.title, passage.score, passage.text, found)
