"""The calls of LibreChat to its `rag_api`: the files of its users and agents. They exist if LIBRECHAT_SECRET is set."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Annotated, cast

import msgspec
from litestar import Controller, MediaType, Response, delete, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.auth import FOR_LIBRECHAT, PUBLIC, LibreChatCredential, UserRequest, require_valid, work_while_current
from api.deps import RuntimeDependency
from api.http import body_deadlines
from api.http.body_deadlines import work_while_connected
from api.http.multipart import discard_body, receive_any_form
from api.http.upload_form import read_as
from api.ratelimit import limit_queries, limit_uploads
from api.schemas import NO_NUL, CollectionName, TopK
from pipeline.errors import InvalidInput, TooManyRequests, UnsupportedMedia
from pipeline.runtime import Runtime
from pipeline.types import Passage, ReceivedFile
from pipeline.use_cases import chat_files, extraction
from pipeline.use_cases.chat_files import FileOwner, OwnerKind
from pipeline.use_cases.upload_room import UploadRoom

MAX_ENTITY_CHARACTERS = 255
EntityId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ENTITY_CHARACTERS, pattern=NO_NUL)]
EntityParameter = Annotated[str | None, QueryParameter(min_length=1, max_length=MAX_ENTITY_CHARACTERS, pattern=NO_NUL)]
FileIds = Annotated[list[CollectionName], msgspec.Meta(min_length=1, max_length=1000)]


class FileForm(msgspec.Struct):
    """The parts of an upload beside the file."""

    file_id: CollectionName
    entity_id: EntityId | None = None
    storage_metadata: str | None = None
    """Where LibreChat keeps the original. It is ignored on purpose: LibreChat never asks for it here."""


class EmbeddedFile(msgspec.Struct):
    """Whether a file can be searched now. If not, it is not stored."""

    status: bool
    message: str
    file_id: str
    filename: str | None
    known_type: bool


class FileQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A question to one file. It may be a whole message."""

    file_id: CollectionName
    query: Annotated[str, msgspec.Meta(pattern=NO_NUL)]
    k: TopK = 4
    entity_id: EntityId | None = None


class PassageMetadata(msgspec.Struct):
    """Where a passage is from."""

    source: str
    page: int
    file_id: str
    user_id: str


class FoundPassage(msgspec.Struct):
    """A passage."""

    page_content: str
    metadata: PassageMetadata


class FileText(msgspec.Struct):
    """The text of a file that is not stored."""

    text: str
    file_id: str
    filename: str
    known_type: bool


class Message(msgspec.Struct):
    """What was done."""

    message: str


class Health(msgspec.Struct):
    """That the process is running."""

    status: str


class LibreChatController(Controller):
    """Keeps the files of LibreChat."""

    include_in_schema = False

    @get("/health", opt=PUBLIC)
    async def health(self) -> Health:
        """Return 200 while the process is running."""
        return Health("UP")

    @post(
        "/embed",
        status_code=200,
        request_max_body_size=None,
        opt={**FOR_LIBRECHAT, body_deadlines.OPTION: body_deadlines.UPLOAD},
        guards=[limit_uploads],
    )
    async def embed(self, request: UserRequest, runtime: RuntimeDependency, state: State) -> EmbeddedFile:
        """Store a file, and wait until it can be searched."""
        async with _receive(request, runtime, state) as (received, form):
            if isinstance(received, UnsupportedMedia):
                return EmbeddedFile(False, received.message, form.file_id, None, known_type=False)
            owner = _find_owner(request, form.entity_id)
            document_id = await chat_files.store(runtime, owner, form.file_id, received)
        waiting = chat_files.wait(runtime, owner, form.file_id, document_id)
        try:
            problem = await work_while_connected(request, work_while_current(request, waiting))
        except InvalidInput:
            # LibreChat has disconnected. It has no answer, so it forgets the file.
            await chat_files.forget(runtime, owner, form.file_id, document_id)
            raise
        if problem is None and form.entity_id is not None:
            await chat_files.note_agent(runtime, _find_owner(request, None), form.file_id, owner)
        message = problem or "The file can be searched."
        return EmbeddedFile(problem is None, message, form.file_id, received.filename, known_type=True)

    @post("/query", status_code=200, opt=FOR_LIBRECHAT, guards=[limit_queries])
    async def query(
        self, request: UserRequest, data: JSONBody[FileQuery], runtime: RuntimeDependency
    ) -> list[tuple[FoundPassage, float]]:
        """Return the best passages of a file, each with its distance from 0 to 1, the nearest first."""
        owner = _find_owner(request, data.entity_id)
        finding = chat_files.find_passages(runtime, owner, data.file_id, data.query, data.k)
        found = await work_while_connected(request, work_while_current(request, finding))
        return [(_show(passage, name, data.file_id, owner), 1 - passage.score) for passage, name in found]

    @get("/documents/{file_id:str}/context", opt=FOR_LIBRECHAT)
    async def context(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        file_id: Annotated[str, PathParameter(pattern=NO_NUL)],
        entity_id: EntityParameter = None,
    ) -> Response[bytes]:
        """Return the text of a file."""
        text = await chat_files.read_text(runtime, _find_owner(request, entity_id), file_id)
        return Response(msgspec.json.encode(text), media_type=MediaType.JSON)

    @delete("/documents", status_code=200, opt=FOR_LIBRECHAT)
    async def remove(
        self,
        request: UserRequest,
        data: JSONBody[FileIds],
        runtime: RuntimeDependency,
        entity_id: EntityParameter = None,
    ) -> Message:
        """Delete files."""
        await chat_files.delete(runtime, _find_owner(request, entity_id), data)
        return Message("The files are deleted.")

    @post(
        "/text",
        status_code=200,
        request_max_body_size=None,
        opt={**FOR_LIBRECHAT, body_deadlines.OPTION: body_deadlines.UPLOAD},
        guards=[limit_uploads],
    )
    async def text(self, request: UserRequest, runtime: RuntimeDependency, state: State) -> FileText:
        """Return the text of a file. Nothing is stored."""
        async with _receive(request, runtime, state) as (received, form):
            if isinstance(received, UnsupportedMedia):
                raise received
            reading = extraction.extract(runtime, request.user, received)
            text = await work_while_connected(request, work_while_current(request, reading))
        return FileText(text.text, form.file_id, received.filename, known_type=True)


@asynccontextmanager
async def _receive(
    request: UserRequest, runtime: Runtime, state: State
) -> AsyncIterator[tuple[ReceivedFile | UnsupportedMedia, FileForm]]:
    """Receive the file, or the error if its format is not supported, and keep it for the block.

    The quotas are checked later, because a field of the form may name another account.
    """
    room: UploadRoom = state.upload_room
    max_bytes = runtime.settings.max_upload_bytes
    with ExitStack() as stack:
        try:
            upload = stack.enter_context(room.begin(request.user.owner_id))
        except TooManyRequests:
            await discard_body(request, max_bytes)
            raise
        received, fields = await receive_any_form(request, upload, max_bytes, FileForm.__struct_fields__)
        if isinstance(received, ReceivedFile):
            stack.enter_context(received.file)
        await require_valid(request)
        yield received, read_as(fields, FileForm)


def _find_owner(request: UserRequest, entity_id: str | None) -> FileOwner:
    """Return the owner of a file: the agent, if LibreChat names one, or the user."""
    if entity_id is not None:
        return FileOwner(OwnerKind.ENTITY, entity_id)
    return cast("LibreChatCredential", request.auth).owner


def _show(passage: Passage, name: str, file_id: str, owner: FileOwner) -> FoundPassage:
    return FoundPassage(passage.text, PassageMetadata(name, passage.page, file_id, owner.name))
