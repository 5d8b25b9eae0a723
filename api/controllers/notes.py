"""Notes: write, list, read, change and delete."""

from uuid import UUID

from litestar import Controller, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from api.auth import UserRequest
from api.deps import RuntimeDependency
from api.http.operations import problems
from api.http.pagination import DEFAULT_LIMIT, PageCursor, PageLimit
from api.schemas import NoteChange, NoteDraft
from pipeline.types import Note, NoteList
from pipeline.use_cases import notes


class NoteController(Controller):
    """The caller's notes. Another account's id and an unknown id give the same 404."""

    path = "/v1/notes"
    tags = ("Notes",)

    @post("/", summary="Create a note", responses=problems(401, 403, 422, 429, 507))
    async def create(self, request: UserRequest, data: JSONBody[NoteDraft], runtime: RuntimeDependency) -> Note:
        """Store a note. It becomes searchable like a document."""
        return await notes.create(runtime, request.user, data.title, data.body)

    @get("/", summary="List notes, newest first", responses=problems(401, 422))
    async def list_page(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        limit: PageLimit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> NoteList:
        """List the caller's notes, page by page."""
        return await notes.list_page(runtime, request.user, limit=limit, cursor=cursor)

    @get("/{note_id:uuid}", summary="Get a note", responses=problems(401, 404))
    async def show(self, request: UserRequest, runtime: RuntimeDependency, note_id: FromPath[UUID]) -> Note:
        """Return a note."""
        return await notes.get(runtime, request.user, note_id)

    @patch("/{note_id:uuid}", summary="Change a note", responses=problems(401, 403, 404, 422, 507))
    async def change(
        self,
        request: UserRequest,
        data: JSONBody[NoteChange],
        runtime: RuntimeDependency,
        note_id: FromPath[UUID],
    ) -> Note:
        """Replace the title, the body or both. Each query sees either the old passages or the new ones, never both."""
        return await notes.change(runtime, request.user, note_id, title=data.title, body=data.body)

    @delete("/{note_id:uuid}", summary="Delete a note", responses=problems(401, 404, 507))
    async def remove(self, request: UserRequest, runtime: RuntimeDependency, note_id: FromPath[UUID]) -> None:
        """Delete a note. It disappears from all results at once."""
        await notes.delete(runtime, request.user, note_id)
