"""The tools that agents may call. They follow OpenAI's convention for `search` and `fetch`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec

from api.auth import UserRequest
from api.http.links import make_link, make_link_to_document, make_link_to_note
from api.schemas import Body, Question, Title
from pipeline.errors import FieldError, InvalidInput, NotFound
from pipeline.runtime import Runtime
from pipeline.types import Document, Listing, Passage, Status
from pipeline.use_cases import answer, documents, notes, search

PASSAGES = 8
"""Number of passages that a search or an answer uses."""
MAX_FETCHED_CHARACTERS = 100_000
"""Longest text that `fetch` returns."""
MAX_LISTED = 50
"""Maximum number of documents in a list."""


@dataclass(frozen=True)
class Call:
    """The request of an agent, and the parts that tools use."""

    request: UserRequest
    runtime: Runtime


class SearchArguments(msgspec.Struct, forbid_unknown_fields=True):
    """What to search for."""

    query: Question


class Found(msgspec.Struct):
    """A document or note, its address in the page, and the text that matches best."""

    id: UUID
    title: str
    url: str
    text: str


class SearchResults(msgspec.Struct):
    """Documents and notes, best first."""

    results: list[Found]


class FetchArguments(msgspec.Struct, forbid_unknown_fields=True):
    """A document or note of a search."""

    id: Annotated[str, msgspec.Meta(max_length=100)]


class Extent(msgspec.Struct):
    """How much of a text was returned, in characters."""

    returned: int
    length: int


class Fetched(msgspec.Struct):
    """The text of a document or note, from its beginning."""

    id: UUID
    title: str
    text: str
    url: str
    metadata: Extent


class AskArguments(msgspec.Struct, forbid_unknown_fields=True):
    """A question about the documents and notes."""

    question: Question


class Source(msgspec.Struct):
    """What a mark such as `[1]` in an answer cites."""

    number: int
    title: str
    url: str
    text: str


class Answered(msgspec.Struct):
    """An answer, and the sources that it cites."""

    answer: str
    sources: list[Source]


class ListArguments(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which documents to list. `cursor` is the `next_cursor` of the list before."""

    status: Status | None = None
    cursor: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class Listed(msgspec.Struct):
    """A document."""

    id: UUID
    title: str
    url: str
    status: Status
    pages: int | None


class ListedDocuments(msgspec.Struct):
    """Documents, newest first. `next_cursor` is null at the end."""

    documents: list[Listed]
    next_cursor: str | None


class TextArguments(msgspec.Struct, forbid_unknown_fields=True):
    """A text to keep, and its title."""

    title: Title
    text: Body


class Kept(msgspec.Struct):
    """A note. It is found by searches as soon as its status is `ready`."""

    id: UUID
    title: str
    url: str
    status: Status


async def find(call: Call, arguments: SearchArguments) -> SearchResults:
    """Return each document once, with its best passage."""
    passages = await search.search(call.runtime, call.request.user, arguments.query, top_k=PASSAGES)
    found: dict[UUID, Found] = {}
    for passage in passages:
        key = passage.document_id or passage.note_id
        if key is not None and key not in found:
            found[key] = Found(key, passage.title, _link(call, passage), passage.text)
    return SearchResults(list(found.values()))


async def fetch(call: Call, arguments: FetchArguments) -> Fetched:
    """Return the text of a document, or of the note with this id.

    Raises NotFound.
    """
    try:
        subject_id = UUID(arguments.id)
    except ValueError:
        raise NotFound("This document does not exist. Use an `id` that `search` has returned.") from None
    settings = call.runtime.settings
    try:
        document = await documents.get(call.runtime, call.request.user, subject_id)
    except NotFound:
        note = await notes.get(call.runtime, call.request.user, subject_id)
        url = make_link_to_note(call.request, settings, note.id)
        text = note.body[:MAX_FETCHED_CHARACTERS]
        return Fetched(note.id, note.title, text, url, Extent(len(text), len(note.body)))
    read = await documents.read_text(call.runtime, call.request.user, subject_id, 0, MAX_FETCHED_CHARACTERS)
    url = make_link_to_document(call.request, settings, document.id)
    return Fetched(document.id, document.filename, read.text, url, Extent(read.end, read.length))


async def ask(call: Call, arguments: AskArguments) -> Answered:
    """Return an answer with its sources."""
    search.require_word(arguments.question, "question")
    draft = await answer.ask(call.runtime, call.request.user, arguments.question, top_k=PASSAGES)
    written = await draft.finish()
    cited = sorted({citation.number for citation in written.citations})
    sources = [(number, written.passages[number - 1]) for number in cited]
    return Answered(
        written.answer,
        [Source(number, passage.title, _link(call, passage), passage.text) for number, passage in sources],
    )


async def list_documents(call: Call, arguments: ListArguments) -> ListedDocuments:
    """Return a page of documents."""
    chosen = Listing(status=arguments.status)
    page = await documents.list_page(call.runtime, call.request.user, chosen, limit=MAX_LISTED, cursor=arguments.cursor)
    return ListedDocuments([_show(call, document) for document in page.items], page.next_cursor)


def _show(call: Call, document: Document) -> Listed:
    url = make_link_to_document(call.request, call.runtime.settings, document.id)
    return Listed(document.id, document.filename, url, document.status, document.pages)


async def upload_text(call: Call, arguments: TextArguments) -> Kept:
    """Store a note."""
    note = await notes.create(call.runtime, call.request.user, arguments.title, arguments.text)
    return Kept(note.id, note.title, make_link_to_note(call.request, call.runtime.settings, note.id), note.status)


def _link(call: Call, passage: Passage) -> str:
    return make_link(call.request, call.runtime.settings, passage)


@dataclass(frozen=True)
class Tool:
    """A tool, the types of its arguments and result, and whether it changes something."""

    description: str
    arguments: type[msgspec.Struct]
    result: type[msgspec.Struct]
    run: Callable[[Call, Any], Awaitable[msgspec.Struct]]
    writes: bool = False


TOOLS = {
    "search": Tool("Find the documents and notes that match a query best.", SearchArguments, SearchResults, find),
    "fetch": Tool("Read the text of a document or note that `search` has found.", FetchArguments, Fetched, fetch),
    "ask": Tool("Answer a question from the documents and notes, with sources.", AskArguments, Answered, ask),
    "list_documents": Tool("List the documents, newest first.", ListArguments, ListedDocuments, list_documents),
    "upload_text": Tool(
        "Keep a text as a note, so that searches find it.", TextArguments, Kept, upload_text, writes=True
    ),
}


def read_arguments(tool: Tool, arguments: dict[str, Any] | None) -> msgspec.Struct:
    """Return the arguments of a call in the tool's type.

    Raises InvalidInput if they do not fit.
    """
    try:
        return msgspec.convert(arguments or {}, type=tool.arguments)
    except msgspec.ValidationError as error:
        problem = FieldError("arguments", str(error))
        raise InvalidInput(f"The arguments are not valid: {error}.", errors=(problem,)) from None


def describe(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a type, with an object at the root."""
    _, schemas = msgspec.json.schema_components([kind])
    schema = schemas.pop(kind.__name__)
    return {**schema, "$defs": schemas} if schemas else schema
