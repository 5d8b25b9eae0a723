"""What a process, its fork server and the children of that say to each other: msgpack, with its length before it."""

from typing import Annotated

import msgspec

from pipeline.errors import FailureCode
from pipeline.stages.extract.format import MAX_SECTIONS, Mark

LENGTH_BYTES = 4
BYTES_A_CHARACTER = 4
MAX_PAGE_IMAGE_BYTES = 16 * 1024 * 1024
"""More than 4 million pixels take in a PNG."""


class ProcessLimits(msgspec.Struct, frozen=True):
    """What a child may use."""

    seconds: float
    memory_bytes: int


class Limits(ProcessLimits, frozen=True):
    """What one extraction may use."""

    pages: int
    characters: int


class Start(msgspec.Struct, tag=True, frozen=True):
    """Order to the fork server: fork child `number`; two file descriptors come with it, its file and its output."""

    number: int
    media_type: str
    limits: Limits
    attempt: int
    """Which of the format's readers to use."""
    pages_read: int
    """So many pages are there from an attempt before, and need not be sent again."""

    @property
    def longest_frame(self) -> int:
        """Bytes that no honest answer is longer than."""
        return (self.limits.characters + 1024) * BYTES_A_CHARACTER


class Draw(msgspec.Struct, tag=True, frozen=True):
    """Order to the fork server, as `Start`: fork child `number`, which draws a page."""

    number: int
    media_type: str
    limits: ProcessLimits
    page: int
    """Counts from 1."""
    mark: Mark | None

    @property
    def longest_frame(self) -> int:
        """Bytes that no honest answer is longer than."""
        return MAX_PAGE_IMAGE_BYTES


class Kill(msgspec.Struct, tag=True, frozen=True):
    """Order to the fork server: kill child `number`, if it is still there."""

    number: int


class Ended(msgspec.Struct, tag=True, frozen=True):
    """Report of the fork server: child `number` is gone; the exit code is negative where a signal ended it."""

    number: int
    exit_code: int


class Page(msgspec.Struct, tag=True):
    """The next page's text, in its sections, and how many pages there are."""

    sections: Annotated[list[str], msgspec.Meta(max_length=MAX_SECTIONS)]
    pages: int

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.sections)


class PageImage(msgspec.Struct, tag=True):
    """The page, drawn."""

    png: bytes


class Done(msgspec.Struct, tag=True):
    """All is done that was ordered."""


class Failed(msgspec.Struct, tag=True):
    """The file cannot be read: code and message for the user, cause for the log."""

    code: FailureCode
    message: str
    cause: str


Task = Start | Draw
Order = Task | Kill
Frame = Page | PageImage | Done | Failed

_frames: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_reports: msgspec.msgpack.Decoder[Ended] = msgspec.msgpack.Decoder(Ended)


def encode(message: Order | Ended | Frame) -> bytes:
    """Return the message as bytes, its length before it."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES) + body


def decode_frame(body: bytes) -> Frame:
    """Return the frame of these bytes, without the length.

    Raises msgspec.MsgspecError where they are none.
    """
    return _frames.decode(body)


def decode_order(body: bytes) -> Order:
    """Return the order of these bytes, without the length."""
    return _orders.decode(body)


def decode_report(body: bytes) -> Ended:
    """Return the report of these bytes, without the length."""
    return _reports.decode(body)
