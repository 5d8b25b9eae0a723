"""Messages between a process, its fork server and their children: a length in 4 bytes, then msgpack."""

import os
from typing import Annotated

import msgspec

from pipeline.errors import RETRYABLE, FailureCode
from pipeline.stages.extract.format import MAX_SECTIONS, Mark
from pipeline.types import PageWarning

LENGTH_BYTES = 4
NOT_CONFINED = os.EX_OSERR
"""Exit code of a child that ended before it read its file, because the kernel refused to confine it."""
BYTES_PER_CHARACTER = 4
"""Longest encoding of one character in UTF-8, in bytes."""
MAX_PAGE_IMAGE_BYTES = 16 * 1024 * 1024
"""Largest page image, in bytes. A PNG of 4 million pixels is smaller."""
MAX_PAGE_IMAGE_SIDE = 4096
"""Greatest width and height of a page image, in pixels. Readers draw at most 1,001 by 4,001."""
MAX_WARNINGS = 20
"""Maximum number of warnings about one page."""
MAX_FAILURE_CHARACTERS = 1000
"""Longest message and longest cause of a failure."""
PNG_BEGINNING = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


class ProcessLimits(msgspec.Struct, frozen=True):
    """Limits of one child process: CPU and elapsed time in seconds, address space in bytes."""

    seconds: float
    memory_bytes: int


class Limits(ProcessLimits, frozen=True):
    """Limits of one extraction."""

    pages: int
    characters: int


class Extract(msgspec.Struct, tag=True, frozen=True):
    """Order to the fork server: fork child `number` to extract a file.

    Two file descriptors are sent with it: the file and the child's output.
    """

    number: int
    media_type: str
    charset: str | None
    """What the upload declared."""
    limits: Limits
    reader: int
    """Index of the format's reader to use."""
    pages_read: int
    """Pages that an earlier reader has sent already. They are not sent again."""

    @property
    def max_frame_bytes(self) -> int:
        """Longest frame that a valid answer can have, in bytes."""
        return (self.limits.characters + 1024) * BYTES_PER_CHARACTER


class Draw(msgspec.Struct, tag=True, frozen=True):
    """Order to the fork server: fork child `number` to draw a page. Descriptors are sent as with `Extract`."""

    number: int
    media_type: str
    limits: ProcessLimits
    page: int
    """Counted from 1."""
    mark: Mark | None

    @property
    def max_frame_bytes(self) -> int:
        """Longest frame that a valid answer can have, in bytes."""
        return MAX_PAGE_IMAGE_BYTES


class Kill(msgspec.Struct, tag=True, frozen=True):
    """Order to the fork server: kill child `number`, if it still runs."""

    number: int


class Ended(msgspec.Struct, tag=True, frozen=True):
    """Report of the fork server: child `number` has ended. The exit code is negative if a signal ended it."""

    number: int
    exit_code: int


class NotForked(msgspec.Struct, tag=True, frozen=True):
    """Report of the fork server: child `number` could not be forked, for this reason."""

    number: int
    reason: str


class Page(msgspec.Struct, tag=True):
    """The text of the next page, in sections, the number of pages of the file, and warnings about the page."""

    sections: Annotated[list[str], msgspec.Meta(max_length=MAX_SECTIONS)]
    pages: int
    warnings: Annotated[list[PageWarning], msgspec.Meta(max_length=MAX_WARNINGS)] = []

    def __post_init__(self) -> None:
        """Raise ValueError if PostgreSQL could not store the text."""
        if any("\0" in section for section in self.sections):
            raise ValueError("the text contains NUL")

    @property
    def text(self) -> str:
        """The whole text of the page."""
        return "".join(self.sections)


class PageImage(msgspec.Struct, tag=True):
    """The page that was drawn."""

    png: bytes

    def __post_init__(self) -> None:
        """Raise ValueError if it is not framed like a PNG, or too large. The pixels are not decoded."""
        sides = int.from_bytes(self.png[16:20]), int.from_bytes(self.png[20:24])
        is_png = self.png.startswith(PNG_BEGINNING) and self.png.endswith(PNG_END)
        if not is_png or min(sides) < 1 or max(sides) > MAX_PAGE_IMAGE_SIDE:
            raise ValueError("the image is not a PNG, or too large")


class Done(msgspec.Struct, tag=True):
    """The order is complete."""


class Failed(msgspec.Struct, tag=True):
    """The file cannot be read. Code and message are for the user, the cause is for the log."""

    code: FailureCode
    message: Annotated[str, msgspec.Meta(max_length=MAX_FAILURE_CHARACTERS)]
    cause: Annotated[str, msgspec.Meta(max_length=MAX_FAILURE_CHARACTERS)]

    def __post_init__(self) -> None:
        """Raise ValueError if it would be tried again, or holds characters that are not for the user and the log."""
        if self.code in RETRYABLE or not (self.message.isprintable() and self.cause.isprintable()):
            raise ValueError("the failure cannot be shown")


Report = Ended | NotForked
Task = Extract | Draw
Order = Task | Kill
Frame = Page | PageImage | Done | Failed

_frames: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def encode(message: Order | Report | Frame) -> bytes:
    """Return the message as bytes, preceded by its length."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES) + body


def decode_frame(body: bytes) -> Frame:
    """Decode a frame without its length. The child that sent it is not trusted.

    Raises ValueError if the bytes are not a valid frame.
    """
    try:
        return _frames.decode(body)
    except RecursionError as error:
        raise ValueError("the frame is nested too deep") from error


def decode_order(body: bytes) -> Order:
    """Decode an order without its length.

    Raises msgspec.MsgspecError if the bytes are not an order.
    """
    return _orders.decode(body)


def decode_report(body: bytes) -> Report:
    """Decode a report without its length.

    Raises msgspec.MsgspecError if the bytes are not a report.
    """
    return _reports.decode(body)
