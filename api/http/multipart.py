"""Receives the file of a multipart upload as a stream, in constant memory.

Litestar parses the whole form before the handler runs, so it could not refuse a file early.
"""

from collections.abc import AsyncIterator
from contextlib import suppress

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from api.auth import UserRequest
from api.http.filenames import find_filename
from pipeline.errors import FieldError, InvalidInput, TooManyRequests, TooSlow, UnsupportedMedia
from pipeline.types import ReceivedFile
from pipeline.use_cases.upload_room import UploadUnderWay
from pipeline.use_cases.uploads import Receiver

FIELD = "file"
MAX_IGNORED_BYTES = 1024 * 1024
"""Maximum number of bytes in other parts of the form, which are ignored."""


async def receive_file(request: UserRequest, upload: UploadUnderWay, max_bytes: int) -> ReceivedFile:
    """Read the part `file` of a multipart body into a temporary file, which the caller closes.

    Other parts are ignored. Raises InvalidInput if the body has not exactly one named file, TooLarge if the file
    exceeds `max_bytes`, UnsupportedMedia if its format is not supported, TooSlow if the client stalls, and
    TooManyRequests if the account's uploads leave too little room for others.
    """
    pieces = request.stream()
    try:
        return await _receive(request, pieces, upload, max_bytes)
    except (InvalidInput, TooManyRequests):
        await _drain(pieces, max_bytes)
        raise


async def discard_body(request: UserRequest, max_bytes: int) -> None:
    """Receive and discard the body of a refused upload. A client that is still sending would not read the response."""
    if request.headers.get("expect", "").lower() == "100-continue":
        # This client sends nothing until it gets a response, and the refusal is that response.
        return
    with suppress(InvalidInput, TooSlow):
        await _drain(request.stream(), max_bytes)


async def _receive(
    request: UserRequest, pieces: AsyncIterator[bytes], upload: UploadUnderWay, max_bytes: int
) -> ReceivedFile:
    receiver: Receiver | None = None
    is_file, ignored = False, 0
    try:
        async for event in _parse(request, pieces):
            if isinstance(event, MultipartSegment):
                is_file = event.name == FIELD
                if is_file:
                    receiver = _start_receiving(event, receiver, upload, max_bytes)
            elif event and is_file and receiver:
                await receiver.write(event)
            elif event:
                ignored += len(event)
                if ignored > MAX_IGNORED_BYTES:
                    raise _invalid("must be the only large part")
        if receiver is None:
            raise _invalid("is missing")
        return await receiver.finish()
    except BaseException:
        if receiver:
            receiver.close()
        raise


def _start_receiving(
    segment: MultipartSegment, before: Receiver | None, upload: UploadUnderWay, max_bytes: int
) -> Receiver:
    if before is not None:
        raise _invalid("occurs twice")
    filename = find_filename(segment.header("Content-Disposition", ""))
    if filename is None:
        raise _invalid("needs a file name")
    return Receiver(filename, segment.content_type or "", segment.charset, upload, max_bytes=max_bytes)


async def _parse(request: UserRequest, pieces: AsyncIterator[bytes]) -> AsyncIterator[MultipartSegment | bytes | None]:
    """Yield each part's headers, then its bytes, then None."""
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != "multipart/form-data":
        raise UnsupportedMedia("The request is not multipart/form-data. Send the file in one part named `file`.")
    try:
        with PushMultipartParser(options.get("boundary", ""), max_header_count=16, header_charset="latin-1") as parser:
            async for piece in pieces:
                for event in parser.parse(piece):
                    yield event
    except (MultipartError, ValueError) as error:
        message = "The multipart body is malformed. Send the file in one part named `file`."
        raise InvalidInput(message, errors=(FieldError("body", "is malformed"),)) from error


async def _drain(pieces: AsyncIterator[bytes], max_bytes: int) -> None:
    """Receive and discard up to `max_bytes`. A client that is still sending would not read the response."""
    drained = 0
    async for piece in pieces:
        drained += len(piece)
        if drained > max_bytes:
            return


def _invalid(problem: str) -> InvalidInput:
    message = f"The part `{FIELD}` {problem}. Send exactly one file in it."
    return InvalidInput(message, errors=(FieldError(FIELD, problem),))
