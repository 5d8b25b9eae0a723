"""`/v1/vector_stores/{id}/file_batches`: many documents that are put into a collection together."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from api.auth import UserRequest
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
from api.controllers.openai.refusals import refuse, require_unset
from api.controllers.openai.store_files import (
    CHUNKING,
    LONGEST_POLL_SECONDS,
    MAX_FILES,
    POLL_AFTER,
    Counts,
    Filter,
    PollHelper,
    StoreFileDraft,
    VectorStoreFile,
    show_counts,
    show_file,
    wait_for,
)
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI
from api.schemas import Attributes
from pipeline.errors import FieldError, InvalidInput
from pipeline.types import FileBatch
from pipeline.use_cases import file_batches


class BatchDraft(msgspec.Struct, forbid_unknown_fields=True):
    """Documents to put into a collection: their ids and attributes that all of them get, or each with its own."""

    file_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_FILES)] | None = None
    files: Annotated[list[StoreFileDraft], msgspec.Meta(min_length=1, max_length=MAX_FILES)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: Any = None


class VectorStoreFileBatch(msgspec.Struct):
    """A batch."""

    id: str
    created_at: int
    vector_store_id: str
    status: Literal["in_progress", "completed", "failed"]
    file_counts: Counts
    object: Literal["vector_store.file_batch"] = "vector_store.file_batch"


class FileBatchController(Controller):
    """Batches of a collection. Another account's id and an unknown id give the same 404."""

    path = "/v1/vector_stores/{store_id:str}/file_batches"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post("/", status_code=200)
    async def create(
        self, request: UserRequest, data: JSONBody[BatchDraft], runtime: RuntimeDependency, store_id: FromPath[str]
    ) -> VectorStoreFileBatch:
        """Put documents into a collection."""
        files = [(read_id(draft.file_id, "document"), draft.attributes) for draft in _read_files(data)]
        collection_id = read_id(store_id, "collection")
        return _show(await file_batches.create(runtime, request.user, collection_id, dict(files)))

    @get("/{batch_id:str}")
    async def show(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        store_id: FromPath[str],
        batch_id: FromPath[str],
        poll_helper: PollHelper = None,
    ) -> Response[VectorStoreFileBatch]:
        """Return a batch, or wait until all of its documents are read if the client would only ask again."""
        ids = read_id(store_id, "collection"), read_id(batch_id, "batch")
        seconds = LONGEST_POLL_SECONDS if poll_helper else 0
        batch = await wait_for(request, file_batches.wait(runtime, request.user, *ids, seconds))
        return Response(_show(batch), headers=POLL_AFTER if batch.files.in_progress else {})

    @post("/{batch_id:str}/cancel", status_code=200)
    async def cancel(
        self, request: UserRequest, runtime: RuntimeDependency, store_id: FromPath[str], batch_id: FromPath[str]
    ) -> VectorStoreFileBatch:
        """Return a batch as it is. Documents that were put into a collection stay there, and are read."""
        ids = read_id(store_id, "collection"), read_id(batch_id, "batch")
        return _show(await file_batches.get(runtime, request.user, *ids))

    @get("/{batch_id:str}/files")
    async def list_files(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        store_id: FromPath[str],
        batch_id: FromPath[str],
        after: Neighbour = None,
        before: Neighbour = None,
        filter_: Filter = None,
        limit: Limit = DEFAULT_LIMIT,
        order: Order = "desc",
    ) -> ItemList[VectorStoreFile]:
        """List the documents of a batch that are still in the collection."""
        ids = read_id(store_id, "collection"), read_id(batch_id, "batch")
        part = read_part(limit, order, after, before)
        found, has_more = await file_batches.list_files(runtime, request.user, *ids, part, filter_)
        return show_list([show_file(file) for file in found], has_more=has_more)


def _read_files(data: BatchDraft) -> list[StoreFileDraft]:
    """Return the documents of a batch.

    Raises InvalidInput if they are not given in exactly one way, or if something is not built.
    """
    require_unset(data, CHUNKING)
    if (data.file_ids is None) == (data.files is None):
        problem = FieldError("file_ids", "needs to be there, unless `files` is")
        raise InvalidInput("Send either `file_ids` or `files`.", errors=(problem,))
    if data.files is None:
        return [StoreFileDraft(file_id, data.attributes) for file_id in data.file_ids or ()]
    if data.attributes is not None:
        raise refuse("attributes", "stands beside `files`, each of which has its own")
    for draft in data.files:
        require_unset(draft, CHUNKING)
    return data.files


def _show(batch: FileBatch) -> VectorStoreFileBatch:
    files = batch.files
    is_failed = files.failed > 0 and files.completed == 0
    return VectorStoreFileBatch(
        str(batch.id),
        int(batch.created_at.timestamp()),
        str(batch.collection_id),
        "in_progress" if files.in_progress else "failed" if is_failed else "completed",
        show_counts(files),
    )
