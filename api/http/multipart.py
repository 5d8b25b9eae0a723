"""Receives the file of an upload as a stream, in constant memory: a part of a form with fields beside it, or the body.

Litestar parses the whole form before the handler runs, so it could not refuse a file early.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from api.auth import UserRequest
from api.http.filenames import find_filename
from pipeline.errors import FieldError, InvalidInput, TooManyRequests, TooSlow, UnsupportedMedia
from pipeline.types import ReceivedFile
from pipeline.use_cases.upload_room import UploadUnderWay
from pipeline.use_cases.uploads import Receiver

FIELD = "file"
MAX_FIELD_BYTES = 64 * 1024
"""Maximum number of bytes in the other parts of a form, together with their names and PART_BYTES for each."""
PART_BYTES = 64
MAX_SHOWN_NAME = 100
"""Longest name of an unknown part that an error repeats."""

Fields = Mapping[str, Sequence[str]]
"""Texts of each field, in their order."""


async def receive_form(
    request: UserRequest, upload: UploadUnderWay, max_bytes: int, fields: Collection[str] = ()
) -> tuple[ReceivedFile, Fields]:
    """Read the part `file` of a multipart body into a temporary file, which the caller closes, and other parts.

    `fields` names the other parts that may be there, in any order. Return the file, and the texts of each field. Raises
    InvalidInput if the body has not exactly one named file, or another part that is not among `fields`, TooLarge if the
    file exceeds `max_bytes`, UnsupportedMedia if its format is not supported, TooSlow if the client stalls, and
    TooManyRequests if the account's uploads leave too little room for others.
    """
    received, texts = await receive_any_form(request, upload, max_bytes, fields)
    if isinstance(received, UnsupportedMedia):
        raise received
    return received, texts


async def receive_any_form(
    request: UserRequest, upload: UploadUnderWay, max_bytes: int, fields: Collection[str]
) -> tuple[ReceivedFile | UnsupportedMedia, Fields]:
    """Do the same as `receive_form`, but return the error if the format of the file is not supported.

    Raises UnsupportedMedia if the body is not a form.
    """
    pieces = request.stream()
    try:
        return await _receive(request, pieces, upload, max_bytes, fields)
    except (InvalidInput, TooManyRequests):
        await _drain(pieces, max_bytes)
        raise


async def receive_body(request: UserRequest, filename: str, upload: UploadUnderWay, max_bytes: int) -> ReceivedFile:
    """Read a body that is the file itself into a temporary file, which the caller closes.

    Raises the errors of `receive_file`.
    """
    pieces = request.stream()
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    try:
        receiver = Receiver(filename, media_type, options.get("charset"), upload, max_bytes=max_bytes)
        try:
            async for piece in pieces:
                await receiver.write(piece)
            return await receiver.finish()
        except BaseException:
            receiver.close()
            raise
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
    request: UserRequest, pieces: AsyncIterator[bytes], upload: UploadUnderWay, max_bytes: int, names: Collection[str]
) -> tuple[ReceivedFile | UnsupportedMedia, Fields]:
    receiver: Receiver | None = None
    fields = _FieldReader(names)
    try:
        async for event in _parse(request, pieces):
            if isinstance(event, MultipartSegment):
                is_file = event.name == FIELD
                if is_file:
                    receiver = _start_receiving(event, receiver, upload, max_bytes)
                else:
                    fields.begin(event.name)
            elif event and is_file and receiver:
                await receiver.write(event)
            elif event:
                fields.write(event)
        if receiver is None:
            raise _invalid("is missing")
        texts = fields.finish()
        try:
            return await receiver.finish(), texts
        except UnsupportedMedia as refusal:
            receiver.close()
            return refusal, texts
    except BaseException:
        if receiver:
            receiver.close()
        raise


class _FieldReader:
    """Reads the parts of a form that are no file."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._parts: list[tuple[str, bytearray]] = []
        self._size = 0

    def begin(self, name: str) -> None:
        """Begin the next part. Raises InvalidInput if the form may not have it."""
        if name not in self._names:
            known = ", ".join(f"`{each}`" for each in (FIELD, *self._names))
            raise _refuse(name, f"is not a field of this form, which has {known}")
        self._parts.append((name, bytearray()))
        self._count(PART_BYTES + len(name))

    def write(self, data: bytes) -> None:
        """Add bytes to the part. Raises InvalidInput if there are too many."""
        self._parts[-1][1].extend(data)
        self._count(len(data))

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MAX_FIELD_BYTES:
            raise _refuse(self._parts[-1][0], f"makes the fields beside the file larger than {MAX_FIELD_BYTES} bytes")

    def finish(self) -> Fields:
        """Return the texts of each field. Raises InvalidInput if one is not UTF-8, or has a NUL."""
        fields: dict[str, list[str]] = {}
        for name, data in self._parts:
            if b"\0" in data:
                raise _refuse(name, "has a NUL character")
            try:
                fields.setdefault(name, []).append(data.decode())
            except UnicodeDecodeError:
                raise _refuse(name, "is not UTF-8") from None
        return fields


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


def _refuse(name: str, problem: str) -> InvalidInput:
    shown = name if name.isprintable() and len(name) <= MAX_SHOWN_NAME else "body"
    return InvalidInput(
        "The form is invalid. Correct the fields listed in `errors`.", errors=(FieldError(shown, problem),)
    )


def _invalid(problem: str) -> InvalidInput:
    message = f"The part `{FIELD}` {problem}. Send exactly one file in it."
    return InvalidInput(message, errors=(FieldError(FIELD, problem),))
