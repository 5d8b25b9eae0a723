"""`/v1/files`: documents in the format of OpenAI."""

from typing import Annotated, Literal

import msgspec
from litestar import Controller, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from api.auth import UserRequest
from api.controllers.openai.listing import ItemList, Neighbour, Order, read_id, read_part, show_list
from api.controllers.openai.refusals import refuse
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI
from api.http import body_deadlines
from api.http.downloads import send_original
from api.http.multipart import Fields
from api.http.uploads import receive_upload
from api.ratelimit import limit_uploads
from api.schemas import NO_NUL
from pipeline.errors import FieldError, InvalidInput
from pipeline.types import Status, StoredFile
from pipeline.use_cases import documents, files

PURPOSES = ("assistants", "user_data")
EXPIRY = ("expires_after[anchor]", "expires_after[seconds]")
"""Fields of an upload that are not built."""
MAX_LIMIT = 10_000
STATUSES: dict[Status, Literal["uploaded", "processed", "error"]] = {
    Status.PENDING: "uploaded",
    Status.PROCESSING: "uploaded",
    Status.READY: "processed",
    Status.FAILED: "error",
}


class FileObject(msgspec.Struct):
    """A document."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["uploaded", "processed", "error"]
    status_details: str | None
    expires_at: None = None
    object: Literal["file"] = "file"


class FileDeleted(msgspec.Struct):
    """A document that was deleted."""

    id: str
    deleted: bool = True
    object: Literal["file"] = "file"


class FileController(Controller):
    """The caller's documents. Another account's id and an unknown id give the same 404."""

    path = "/v1/files"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post(
        "/",
        status_code=200,
        request_max_body_size=None,
        opt={body_deadlines.OPTION: body_deadlines.UPLOAD},
        guards=[limit_uploads],
    )
    async def upload(self, request: UserRequest, runtime: RuntimeDependency, state: State) -> FileObject:
        """Accept a file. If a document has the same bytes, return that one: SDKs repeat requests without an answer."""
        check = documents.require_room(runtime, request.user, request.content_length or 0)
        async with receive_upload(request, runtime, state, check, ("purpose", *EXPIRY)) as (received, form):
            return _show(await files.upload(runtime, request.user, received, _read_purpose(form)))

    @get("/")
    async def list_all(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        after: Neighbour = None,
        limit: Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT)] = MAX_LIMIT,
        order: Order = "desc",
        purpose: Annotated[str | None, QueryParameter(pattern=NO_NUL)] = None,
    ) -> ItemList[FileObject]:
        """List the caller's documents."""
        part = read_part(limit, order, after)
        found, has_more = await files.list_part(runtime, request.user, part, purpose)
        return show_list([_show(file) for file in found], has_more=has_more)

    @get("/{file_id:str}")
    async def show(self, request: UserRequest, runtime: RuntimeDependency, file_id: FromPath[str]) -> FileObject:
        """Return a document."""
        return _show(await files.get(runtime, request.user, read_id(file_id, "document")))

    @delete("/{file_id:str}", status_code=200)
    async def remove(self, request: UserRequest, runtime: RuntimeDependency, file_id: FromPath[str]) -> FileDeleted:
        """Delete a document. It disappears from all vector stores at once."""
        document_id = read_id(file_id, "document")
        await documents.delete(runtime, request.user, document_id)
        return FileDeleted(str(document_id))

    @get("/{file_id:str}/content", media_type="application/octet-stream")
    async def content(self, request: UserRequest, runtime: RuntimeDependency, file_id: FromPath[str]) -> Stream:
        """Return the original bytes."""
        document_id = read_id(file_id, "document")
        return send_original(request, *await documents.open_content(runtime, request.user, document_id))


def _read_purpose(form: Fields) -> str:
    """Return the purpose of an upload.

    Raises InvalidInput if it has none that is known, or asks for something that is not built.
    """
    for field in EXPIRY:
        if field in form:
            raise refuse(field, "asks for something that is not built")
    match form.get("purpose", ()):
        case [purpose] if purpose in PURPOSES:
            return purpose
        case _:
            known = " or ".join(f"`{purpose}`" for purpose in PURPOSES)
            problem = FieldError("purpose", f"needs to be {known}")
            raise InvalidInput(f"`purpose` needs to be {known}. Send it once.", errors=(problem,))


def _show(file: StoredFile) -> FileObject:
    details = f"{file.error.code}: {file.error.message}" if file.error else None
    return FileObject(
        str(file.id),
        file.size_bytes,
        int(file.created_at.timestamp()),
        file.filename,
        file.purpose,
        STATUSES[file.status],
        details,
    )
