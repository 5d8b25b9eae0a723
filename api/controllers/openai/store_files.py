"""`/v1/vector_stores/{id}/files`: documents of a collection in the format of OpenAI."""

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.response import Stream

from api.auth import UserRequest, work_while_current
from api.controllers.openai.listing import (
    DEFAULT_LIMIT,
    ItemList,
    Limit,
    Neighbour,
    Order,
    read_id,
    read_part,
    show_list,
)
from api.controllers.openai.refusals import require_unset
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI
from api.http.body_deadlines import work_while_connected
from api.schemas import Attributes
from pipeline.errors import FailureCode, SluiceError
from pipeline.stages.chunk import CHUNK_CHARACTERS, OVERLAP_CHARACTERS
from pipeline.types import Attributes as GivenAttributes
from pipeline.types import Failure, FileCounts, Status, StoreFile
from pipeline.use_cases import collections, stores

CHUNKING: dict[str, tuple[Any, ...]] = {"chunking_strategy": ({"type": "auto"},)}
"""The only way to cut texts, and how clients may ask for it."""
CHARACTERS_PER_TOKEN = 4
"""About as many as a token has."""
MAX_FILES = 2000
"""Maximum number of documents that one request puts into a collection."""
LONGEST_POLL_SECONDS = 20
"""Longest time for which an answer waits for the end of the work, if the client only asks again otherwise."""
POLL_AFTER = {"openai-poll-after-ms": "200"}
"""Header with the pause before the client asks again."""
PollHelper = Annotated[str | None, HeaderParameter(name="X-Stainless-Poll-Helper")]
"""SDKs send this header if they ask until the work ends."""

State = Literal["in_progress", "completed", "failed", "cancelled"]
Filter = Annotated[State | None, QueryParameter(name="filter")]
STATES: dict[Status, State] = {
    Status.PENDING: "in_progress",
    Status.PROCESSING: "in_progress",
    Status.READY: "completed",
    Status.FAILED: "failed",
}
ErrorCode = Literal["server_error", "unsupported_file", "invalid_file"]
ERROR_CODES: dict[str, ErrorCode] = {
    FailureCode.UNSUPPORTED_MEDIA_TYPE: "unsupported_file",
    FailureCode.MALFORMED: "invalid_file",
    FailureCode.ENCRYPTED: "invalid_file",
    FailureCode.NO_TEXT: "invalid_file",
    FailureCode.TOO_LARGE: "invalid_file",
    FailureCode.TOO_MANY_PAGES: "invalid_file",
}
"""Failures that are due to the file. Others are `server_error`."""

Result = TypeVar("Result")


class StoreFileDraft(msgspec.Struct, forbid_unknown_fields=True):
    """A document to put into a collection. Without attributes, those that it has there stay."""

    file_id: str
    attributes: Attributes | None = None
    chunking_strategy: Any = None


class AttributeChange(msgspec.Struct, forbid_unknown_fields=True):
    """Attributes that replace those before. `null` means none."""

    attributes: Attributes | None


class LastError(msgspec.Struct):
    """Why a document could not be read."""

    code: ErrorCode
    message: str


class ChunkSizes(msgspec.Struct, frozen=True):
    """How long passages are, and how much of two consecutive ones is the same."""

    max_chunk_size_tokens: int = CHUNK_CHARACTERS // CHARACTERS_PER_TOKEN
    chunk_overlap_tokens: int = OVERLAP_CHARACTERS // CHARACTERS_PER_TOKEN


class ChunkingStrategy(msgspec.Struct, frozen=True):
    """How texts are cut."""

    static: ChunkSizes = ChunkSizes()
    type: Literal["static"] = "static"


class VectorStoreFile(msgspec.Struct):
    """A document in a collection."""

    id: str
    created_at: int
    usage_bytes: int
    vector_store_id: str
    status: State
    last_error: LastError | None
    attributes: GivenAttributes
    chunking_strategy: ChunkingStrategy = ChunkingStrategy()
    object: Literal["vector_store.file"] = "vector_store.file"


class VectorStoreFileDeleted(msgspec.Struct):
    """A document that was taken out of a collection."""

    id: str
    deleted: bool = True
    object: Literal["vector_store.file.deleted"] = "vector_store.file.deleted"


class Counts(msgspec.Struct):
    """Numbers of documents by their states."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int


class Text(msgspec.Struct):
    """The text of a page."""

    text: str
    type: Literal["text"] = "text"


class StoreFileController(Controller):
    """The documents of a collection. Another account's id and an unknown id give the same 404."""

    path = "/v1/vector_stores/{store_id:str}/files"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post("/", status_code=200)
    async def add(
        self, request: UserRequest, data: JSONBody[StoreFileDraft], runtime: RuntimeDependency, store_id: FromPath[str]
    ) -> VectorStoreFile:
        """Put a document into a collection."""
        require_unset(data, CHUNKING)
        collection_id, document_id = read_id(store_id, "collection"), read_id(data.file_id, "document")
        return show_file(await stores.put_file(runtime, request.user, collection_id, document_id, data.attributes))

    @get("/")
    async def list_all(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        store_id: FromPath[str],
        after: Neighbour = None,
        before: Neighbour = None,
        filter_: Filter = None,
        limit: Limit = DEFAULT_LIMIT,
        order: Order = "desc",
    ) -> ItemList[VectorStoreFile]:
        """List the documents of a collection."""
        collection_id, part = read_id(store_id, "collection"), read_part(limit, order, after, before)
        found, has_more = await stores.list_files(runtime, request.user, collection_id, part, filter_)
        return show_list([show_file(file) for file in found], has_more=has_more)

    @get("/{file_id:str}")
    async def show(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        store_id: FromPath[str],
        file_id: FromPath[str],
        poll_helper: PollHelper = None,
    ) -> Response[VectorStoreFile]:
        """Return a document of a collection, or wait until it is read if the client would only ask again."""
        ids = read_id(store_id, "collection"), read_id(file_id, "document")
        seconds = LONGEST_POLL_SECONDS if poll_helper else 0
        file = await wait_for(request, stores.wait_for_file(runtime, request.user, *ids, seconds))
        return Response(show_file(file), headers={} if file.status.is_terminal else POLL_AFTER)

    @post("/{file_id:str}", status_code=200)
    async def change(
        self,
        request: UserRequest,
        data: JSONBody[AttributeChange],
        runtime: RuntimeDependency,
        store_id: FromPath[str],
        file_id: FromPath[str],
    ) -> VectorStoreFile:
        """Replace the attributes of a document in a collection."""
        ids = read_id(store_id, "collection"), read_id(file_id, "document")
        return show_file(await stores.change_file(runtime, request.user, *ids, data.attributes or {}))

    @delete("/{file_id:str}", status_code=200)
    async def remove(
        self, request: UserRequest, runtime: RuntimeDependency, store_id: FromPath[str], file_id: FromPath[str]
    ) -> VectorStoreFileDeleted:
        """Take a document out of a collection. The document itself stays."""
        collection_id, document_id = read_id(store_id, "collection"), read_id(file_id, "document")
        await collections.remove_document(runtime, request.user, collection_id, document_id)
        return VectorStoreFileDeleted(str(document_id))

    @get("/{file_id:str}/content")
    async def content(
        self, request: UserRequest, runtime: RuntimeDependency, store_id: FromPath[str], file_id: FromPath[str]
    ) -> Stream:
        """Return the extracted text, an item for each page that has some."""
        collection_id, document_id = read_id(store_id, "collection"), read_id(file_id, "document")
        texts = stores.read_text(runtime, request.user, collection_id, document_id)
        first = await anext(texts)
        return Stream(_write_content(request, first, texts), media_type="application/json")


async def wait_for(request: UserRequest, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of work that may take long. It ends with the connection, and with the token."""
    return await work_while_connected(request, work_while_current(request, work))


async def _write_content(
    request: UserRequest, texts: Sequence[str], rest: AsyncIterator[Sequence[str]]
) -> AsyncIterator[bytes]:
    """Yield the answer in pieces. If something fails, the answer ends early and is not valid JSON."""
    yield b'{"object":"vector_store.file_content.page","data":['
    is_first = True
    with suppress(SluiceError):
        while True:
            for text in texts:
                yield (b"" if is_first else b",") + msgspec.json.encode(Text(text))
                is_first = False
            following = await work_while_current(request, anext(rest, None))
            if following is None:
                break
            texts = following
        yield b'],"has_more":false,"next_page":null}'


def show_counts(files: FileCounts) -> Counts:
    """Return numbers of documents as clients see them."""
    return Counts(files.in_progress, files.completed, files.failed, files.cancelled, files.total)


def show_file(file: StoreFile) -> VectorStoreFile:
    """Return a document of a collection as clients see it."""
    return VectorStoreFile(
        str(file.id),
        int(file.added_at.timestamp()),
        file.size_bytes,
        str(file.collection_id),
        STATES[file.status],
        _show_error(file.error),
        file.attributes,
    )


def _show_error(error: Failure | None) -> LastError | None:
    if error is None:
        return None
    return LastError(ERROR_CODES.get(error.code, "server_error"), f"{error.code}: {error.message}")
