"""Reading the one file of a multipart body as it arrives: memory stays flat, and everything is counted."""

from collections.abc import AsyncIterator
from contextlib import suppress

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from api.auth import UserRequest
from pipeline.errors import FieldError, InvalidInput, TooSlow, UnsupportedMedia
from pipeline.types import ReceivedFile
from pipeline.use_cases.uploads import Receiver

FIELD = "file"


async def receive_file(request: UserRequest, max_bytes: int) -> ReceivedFile:
    """Read the part `file` of a multipart body into a temporary file; the caller closes it.

    Raises InvalidInput for a body that is not one file with a name, TooLarge over `max_bytes`, UnsupportedMedia
    for a format that is not ours, TooSlow for a client that stalls.
    """
    pieces = request.stream()
    try:
        return await _receive(request, pieces, max_bytes)
    except InvalidInput:
        await _drain(pieces, max_bytes)
        raise


async def discard_body(request: UserRequest, max_bytes: int) -> None:
    """Receive and forget a body that was refused unread, so that a client that is sending sees the answer."""
    if request.headers.get("expect", "").lower() == "100-continue":
        # This client waits for a word before it sends: the refusal is that word.
        return
    with suppress(InvalidInput, TooSlow):
        await _drain(request.stream(), max_bytes)


async def _receive(request: UserRequest, pieces: AsyncIterator[bytes], max_bytes: int) -> ReceivedFile:
    receiver: Receiver | None = None
    try:
        async for event in _parse(request, pieces):
            if isinstance(event, MultipartSegment):
                if receiver is not None or event.name != FIELD:
                    raise _invalid("must be the only part")
                if event.filename is None:
                    raise _invalid("needs a file name")
                receiver = Receiver(event.filename, event.content_type or "", max_bytes=max_bytes)
            elif event and receiver:
                await receiver.write(event)
        if receiver is None:
            raise _invalid("is missing")
        return await receiver.finish()
    except BaseException:
        if receiver:
            receiver.close()
        raise


async def _parse(request: UserRequest, pieces: AsyncIterator[bytes]) -> AsyncIterator[MultipartSegment | bytes | None]:
    """Yield a part's headers, its bytes, None at its end, and so on."""
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != "multipart/form-data":
        raise UnsupportedMedia("Send the file as multipart/form-data with one part named file.")
    try:
        with PushMultipartParser(options.get("boundary", ""), max_header_count=16) as parser:
            async for piece in pieces:
                for event in parser.parse(piece):
                    yield event
    except (MultipartError, ValueError) as error:
        raise InvalidInput("The multipart body is broken.", errors=(FieldError("body", str(error)),)) from error


async def _drain(pieces: AsyncIterator[bytes], max_bytes: int) -> None:
    """Read on for a while after a refusal: a client that is still sending would not see the answer."""
    drained = 0
    async for piece in pieces:
        drained += len(piece)
        if drained > max_bytes:
            return


def _invalid(problem: str) -> InvalidInput:
    return InvalidInput(f"The part `{FIELD}` {problem}.", errors=(FieldError(FIELD, problem),))
