"""Receives the file of a request for the time of its handling."""

from collections.abc import AsyncIterator, Awaitable, Collection
from contextlib import ExitStack, asynccontextmanager

from litestar.datastructures import State

from api.auth import UserRequest, require_valid
from api.http.multipart import Fields, discard_body, receive_form
from pipeline.errors import NotFound, QuotaExceeded, TooManyRequests
from pipeline.runtime import Runtime
from pipeline.types import ReceivedFile
from pipeline.use_cases.upload_room import UploadRoom


@asynccontextmanager
async def receive_upload(
    request: UserRequest, runtime: Runtime, state: State, check: Awaitable[None], fields: Collection[str] = ()
) -> AsyncIterator[tuple[ReceivedFile, Fields]]:
    """Receive the uploaded file and these fields, and keep the file for the block. A refused upload is discarded."""
    room: UploadRoom = state.upload_room
    max_bytes = runtime.settings.max_upload_bytes
    with ExitStack() as stack:
        try:
            await check
            upload = stack.enter_context(room.begin(request.user.owner_id))
        except (NotFound, QuotaExceeded, TooManyRequests):
            await discard_body(request, max_bytes)
            raise
        received, form = await receive_form(request, upload, max_bytes, fields)
        with received.file:
            await require_valid(request)
            yield received, form
