"""What the extraction child and its parent say to each other: msgpack, with its length before it."""

import msgspec

from pipeline.errors import FailureCode

LENGTH_BYTES = 4


class Limits(msgspec.Struct, frozen=True):
    """What one extraction may use."""

    seconds: float
    memory_bytes: int
    pages: int
    characters: int


class Page(msgspec.Struct, tag=True):
    """The next page's text, and how many pages there are."""

    text: str
    pages: int


class Done(msgspec.Struct, tag=True):
    """All pages were read."""


class Failed(msgspec.Struct, tag=True):
    """The file cannot be read: code and message for the user, cause for the log."""

    code: FailureCode
    message: str
    cause: str


Frame = Page | Done | Failed

_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """Return the frame as bytes, its length before it."""
    body = msgspec.msgpack.encode(frame)
    return len(body).to_bytes(LENGTH_BYTES) + body


def decode(body: bytes) -> Frame:
    """Return the frame of these bytes, without the length.

    Raises msgspec.MsgspecError where they are none.
    """
    return _decoder.decode(body)
