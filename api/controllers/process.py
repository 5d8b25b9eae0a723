"""`PUT /process`: the text of a file without storing it, as Open WebUI asks an external document loader."""

from contextlib import ExitStack
from typing import Annotated
from urllib.parse import unquote

import msgspec
from litestar import Controller, put
from litestar.datastructures import State
from litestar.params import HeaderParameter

from api.auth import UserRequest, require_valid, work_while_current
from api.deps import RuntimeDependency
from api.http import body_deadlines
from api.http.multipart import discard_body, receive_body
from api.permissions import READS
from api.ratelimit import limit_uploads
from pipeline.errors import TooManyRequests
from pipeline.use_cases import extraction
from pipeline.use_cases.upload_room import UploadRoom


class Origin(msgspec.Struct):
    """Where a text comes from."""

    source: str
    media_type: str
    pages: int


class LoadedText(msgspec.Struct):
    """The text of a file."""

    page_content: str
    metadata: Origin


class ProcessController(Controller):
    """Reads files for other programs."""

    path = "/process"
    include_in_schema = False

    @put(
        "/",
        request_max_body_size=None,
        opt={**READS, body_deadlines.OPTION: body_deadlines.UPLOAD},
        guards=[limit_uploads],
    )
    async def process(
        self,
        request: UserRequest,
        runtime: RuntimeDependency,
        state: State,
        filename: Annotated[str, HeaderParameter(name="X-Filename", max_length=1000)] = "file",
    ) -> LoadedText:
        """Return the text of the file in the body."""
        room: UploadRoom = state.upload_room
        max_bytes = runtime.settings.max_upload_bytes
        with ExitStack() as stack:
            try:
                upload = stack.enter_context(room.begin(request.user.owner_id))
            except TooManyRequests:
                await discard_body(request, max_bytes)
                raise
            received = await receive_body(request, unquote(filename), upload, max_bytes)
            stack.enter_context(received.file)
            await require_valid(request)
            reading = extraction.extract(runtime, request.user, received)
            text = await body_deadlines.work_while_connected(request, work_while_current(request, reading))
        return LoadedText(text.text, Origin(received.filename, received.media_type, text.pages))
