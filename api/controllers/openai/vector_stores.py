"""`/v1/vector_stores`: collections in the format of OpenAI."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, delete, get, post
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
from api.controllers.openai.refusals import require_unset
from api.controllers.openai.store_files import CHUNKING, MAX_FILES, Counts, show_counts
from api.deps import RuntimeDependency
from api.errors import LIKE_OPENAI
from api.schemas import NO_NUL, Description
from pipeline.types import Store
from pipeline.use_cases import collections, stores

NOT_BUILT: dict[str, tuple[Any, ...]] = {"expires_after": ()}
"""Fields that are not built, and the values of them that ask for nothing."""

Name = Annotated[str, msgspec.Meta(max_length=256, pattern=NO_NUL)]
Metadata = Annotated[
    dict[
        Annotated[str, msgspec.Meta(max_length=64, pattern=NO_NUL)],
        Annotated[str, msgspec.Meta(max_length=512, pattern=NO_NUL)],
    ],
    msgspec.Meta(max_length=16),
]


class StoreDraft(msgspec.Struct, forbid_unknown_fields=True):
    """A new vector store."""

    name: Name | None = None
    description: Description | None = None
    file_ids: Annotated[list[str], msgspec.Meta(max_length=MAX_FILES)] | None = None
    metadata: Metadata | None = None
    chunking_strategy: Any = None
    expires_after: Any = None


class StoreChange(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a vector store to replace. `null` empties a field."""

    name: Name | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType | None = msgspec.UNSET
    expires_after: Any = None


class VectorStore(msgspec.Struct):
    """A collection."""

    id: str
    created_at: int
    name: str
    description: str
    usage_bytes: int
    status: Literal["in_progress", "completed"]
    file_counts: Counts
    last_active_at: int
    metadata: dict[str, str]
    expires_after: None = None
    expires_at: None = None
    object: Literal["vector_store"] = "vector_store"


class VectorStoreDeleted(msgspec.Struct):
    """A collection that was deleted."""

    id: str
    deleted: bool = True
    object: Literal["vector_store.deleted"] = "vector_store.deleted"


class VectorStoreController(Controller):
    """The caller's collections. Another account's id and an unknown id give the same 404."""

    path = "/v1/vector_stores"
    include_in_schema = False
    exception_handlers = LIKE_OPENAI

    @post("/", status_code=200)
    async def create(self, request: UserRequest, data: JSONBody[StoreDraft], runtime: RuntimeDependency) -> VectorStore:
        """Create a collection with these documents. Another one may have the same name."""
        require_unset(data, NOT_BUILT | CHUNKING)
        store = await stores.create(
            runtime,
            request.user,
            name=data.name or "",
            description=data.description or "",
            metadata=dict(data.metadata or {}),
            files={read_id(file_id, "document"): None for file_id in data.file_ids or ()},
        )
        return _show(store)

    @get("/")
    async def list_all(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        after: Neighbour = None,
        before: Neighbour = None,
        limit: Limit = DEFAULT_LIMIT,
        order: Order = "desc",
    ) -> ItemList[VectorStore]:
        """List the caller's collections."""
        part = read_part(limit, order, after, before)
        found, has_more = await stores.list_part(runtime, request.user, part)
        return show_list([_show(store) for store in found], has_more=has_more)

    @get("/{store_id:str}")
    async def show(self, request: UserRequest, runtime: RuntimeDependency, store_id: FromPath[str]) -> VectorStore:
        """Return a collection."""
        return _show(await stores.get(runtime, request.user, read_id(store_id, "collection")))

    @post("/{store_id:str}", status_code=200)
    async def change(
        self, request: UserRequest, data: JSONBody[StoreChange], runtime: RuntimeDependency, store_id: FromPath[str]
    ) -> VectorStore:
        """Replace the name or the metadata."""
        require_unset(data, NOT_BUILT)
        store = await stores.change(
            runtime,
            request.user,
            read_id(store_id, "collection"),
            name="" if data.name is None else data.name,
            metadata={} if data.metadata is None else data.metadata,
        )
        return _show(store)

    @delete("/{store_id:str}", status_code=200)
    async def remove(
        self, request: UserRequest, runtime: RuntimeDependency, store_id: FromPath[str]
    ) -> VectorStoreDeleted:
        """Delete a collection. Its documents stay."""
        collection_id = read_id(store_id, "collection")
        await collections.delete(runtime, request.user, collection_id, delete_contents=False)
        return VectorStoreDeleted(str(collection_id))


def _show(store: Store) -> VectorStore:
    return VectorStore(
        str(store.id),
        int(store.created_at.timestamp()),
        store.name,
        store.description,
        store.size_bytes,
        "in_progress" if store.files.in_progress else "completed",
        show_counts(store.files),
        int(store.updated_at.timestamp()),
        {key: _write(value) for key, value in store.metadata.items()},
    )


def _write(value: Any) -> str:
    """Return a value of the metadata as text: clients in the format of OpenAI know only texts."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
