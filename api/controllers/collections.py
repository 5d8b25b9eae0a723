"""Collections: create, list, read, change and delete them; put documents and notes into them, and take them out."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.http.operations import problems
from api.http.pagination import DEFAULT_LIMIT, PageCursor, PageLimit
from api.schemas import CollectionChange, CollectionDraft, MembershipDraft
from pipeline.types import (
    Collection,
    CollectionDocument,
    CollectionDocumentList,
    CollectionList,
    CollectionNote,
    CollectionNoteList,
    Status,
)
from pipeline.use_cases import collections

DOCUMENT = "/{collection_id:uuid}/documents/{document_id:uuid}"
NOTE = "/{collection_id:uuid}/notes/{note_id:uuid}"


class CollectionController(Controller):
    """The caller's collections. Another account's id and an unknown id give the same 404."""

    path = "/v1/collections"
    tags = ("Collections",)

    @post("/", summary="Create a collection", responses=problems(401, 403, 409, 422, 507))
    async def create(
        self, request: UserRequest, data: JSONBody[CollectionDraft], runtime: RuntimeDependency
    ) -> Collection:
        """Create an empty collection. A document or note may be in several collections."""
        return await collections.create(
            runtime, request.user, name=data.name, description=data.description, metadata=data.metadata
        )

    @get("/", summary="List collections, newest first", responses=problems(401, 422))
    async def list_page(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> CollectionList:
        """List the caller's collections, page by page."""
        return await collections.list_page(runtime, request.user, limit=limit, cursor=cursor)

    @get("/{collection_id:uuid}", summary="Get a collection", responses=problems(401, 404))
    async def show(self, request: UserRequest, runtime: RuntimeDependency, collection_id: FromPath[UUID]) -> Collection:
        """Return a collection, with the numbers of its documents and notes."""
        return await collections.get(runtime, request.user, collection_id)

    @patch("/{collection_id:uuid}", summary="Change a collection", responses=problems(401, 404, 409, 422, 507))
    async def change(
        self,
        request: UserRequest,
        data: JSONBody[CollectionChange],
        runtime: RuntimeDependency,
        collection_id: FromPath[UUID],
    ) -> Collection:
        """Replace the name, the description or the metadata. The metadata is replaced as a whole."""
        return await collections.change(
            runtime,
            request.user,
            collection_id,
            name=data.name,
            description=data.description,
            metadata=data.metadata,
        )

    @delete("/{collection_id:uuid}", summary="Delete a collection", responses=problems(401, 403, 404, 422, 507))
    async def remove(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        collection_id: FromPath[UUID],
        *,
        delete_contents: Annotated[
            bool, QueryParameter(description="Also delete its documents and notes that are in no other collection.")
        ] = False,
    ) -> None:
        """Delete a collection. Its documents and notes stay, unless you ask to delete them.

        If a request to delete many documents is interrupted, repeat it. The collection is deleted last.
        """
        await collections.delete(runtime, request.user, collection_id, delete_contents=delete_contents)

    @get("/{collection_id:uuid}/documents", summary="List a collection's documents", responses=problems(401, 404, 422))
    async def list_documents(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        collection_id: FromPath[UUID],
        status: Annotated[Status | None, QueryParameter(description="Return only documents with this status.")] = None,
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> CollectionDocumentList:
        """List the documents of a collection with their attributes there, newest first."""
        statuses = None if status is None else (status,)
        return await collections.list_documents(
            runtime, request.user, collection_id, statuses=statuses, limit=limit, cursor=cursor
        )

    @get(DOCUMENT, summary="Get a document of a collection", responses=problems(401, 404))
    async def show_document(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        collection_id: FromPath[UUID],
        document_id: FromPath[UUID],
    ) -> CollectionDocument:
        """Return a document with its attributes in this collection."""
        return await collections.get_document(runtime, request.user, collection_id, document_id)

    @put(DOCUMENT, summary="Put a document into a collection", responses=problems(401, 404, 422, 507))
    async def put_document(
        self,
        request: UserRequest,
        data: JSONBody[MembershipDraft],
        runtime: RuntimeDependency,
        collection_id: FromPath[UUID],
        document_id: FromPath[UUID],
    ) -> CollectionDocument:
        """Put a document into a collection, or replace its attributes there. They are replaced as a whole."""
        return await collections.put_document(runtime, request.user, collection_id, document_id, data.attributes)

    @delete(DOCUMENT, summary="Take a document out of a collection", responses=problems(401, 404, 507))
    async def remove_document(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        collection_id: FromPath[UUID],
        document_id: FromPath[UUID],
    ) -> None:
        """Take a document out of a collection. The document itself stays."""
        await collections.remove_document(runtime, request.user, collection_id, document_id)

    @get("/{collection_id:uuid}/notes", summary="List a collection's notes", responses=problems(401, 404, 422))
    async def list_notes(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        collection_id: FromPath[UUID],
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> CollectionNoteList:
        """List the notes of a collection with their attributes there, newest first."""
        return await collections.list_notes(runtime, request.user, collection_id, limit=limit, cursor=cursor)

    @get(NOTE, summary="Get a note of a collection", responses=problems(401, 404))
    async def show_note(
        self, request: UserRequest, runtime: RuntimeDependency, collection_id: FromPath[UUID], note_id: FromPath[UUID]
    ) -> CollectionNote:
        """Return a note with its attributes in this collection."""
        return await collections.get_note(runtime, request.user, collection_id, note_id)

    @put(NOTE, summary="Put a note into a collection", responses=problems(401, 404, 422, 507))
    async def put_note(
        self,
        request: UserRequest,
        data: JSONBody[MembershipDraft],
        runtime: RuntimeDependency,
        collection_id: FromPath[UUID],
        note_id: FromPath[UUID],
    ) -> CollectionNote:
        """Put a note into a collection, or replace its attributes there. They are replaced as a whole."""
        return await collections.put_note(runtime, request.user, collection_id, note_id, data.attributes)

    @delete(NOTE, summary="Take a note out of a collection", responses=problems(401, 404, 507))
    async def remove_note(
        self, request: UserRequest, runtime: RuntimeDependency, collection_id: FromPath[UUID], note_id: FromPath[UUID]
    ) -> None:
        """Take a note out of a collection. The note itself stays."""
        await collections.remove_note(runtime, request.user, collection_id, note_id)
