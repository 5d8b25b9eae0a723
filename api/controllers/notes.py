"""Notes: write, list, read, change and delete."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from api.auth import UserRequest, work_while_current
from api.deps import RuntimeDependency
from api.http import body_deadlines
from api.http.operations import problems
from api.http.pagination import DEFAULT_LIMIT, PageCursor, PageLimit
from api.http.prefer import Prefer, confirm_wait, parse_wait
from api.schemas import NoteChange, NoteDraft
from pipeline.types import Note, NoteList
from pipeline.use_cases import notes


class NoteController(Controller):
    """The caller's notes. Another account's id and an unknown id give the same 404."""

    path = "/v1/notes"
    tags = ("Notes",)

    @post("/", summary="Create a note", responses=problems(401, 403, 422, 429, 507))
    async def create(self, request: UserRequest, data: JSONBody[NoteDraft], runtime: RuntimeDependency) -> Note:
        """Store a note, in collections if you name some. It becomes searchable like a document."""
        return await notes.create(runtime, request.user, data.title, data.body, collection_ids=data.collection_ids)

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

    @get(
        "/{note_id:uuid}",
        summary="Get a note, or wait for the status of its indexing to change",
        responses=problems(401, 404),
    )
    async def show(
        self, request: UserRequest, runtime: RuntimeDependency, note_id: FromPath[UUID], prefer: Prefer = None
    ) -> Response[Note]:
        """Return a note."""
        wait = parse_wait(prefer)
        if wait is None:
            note = await notes.get(runtime, request.user, note_id)
        else:
            waiting = notes.wait_for_change(runtime, request.user, note_id, wait)
            note = await body_deadlines.work_while_connected(request, work_while_current(request, waiting))
        return Response(note, headers=confirm_wait(wait))

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
