"""Read the text of a file without storing anything."""

from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from pipeline.errors import InvalidInput
from pipeline.runtime import Runtime
from pipeline.sandbox.pool import make_limits
from pipeline.types import Caller, ReceivedFile

READ_SECONDS = 25.0
"""Time limit for reading a file. Clients wait for 30 seconds."""


@dataclass(frozen=True)
class ExtractedText:
    """The text of a file, and the number of its pages."""

    text: str
    pages: int


async def extract(runtime: Runtime, caller: Caller, received: ReceivedFile) -> ExtractedText:
    """Return the text of a file, which a child process reads under limits. Accounts take turns.

    Raises IngestionError if the file cannot be read, InvalidInput if it has no text, Overloaded if too many files wait,
    SandboxUnavailable if no process can be started.
    """
    limits = make_limits(runtime.settings)
    limits = msgspec.structs.replace(limits, seconds=min(limits.seconds, READ_SECONDS))
    async with runtime.extraction_queue.turn(str(caller.owner_id)):
        pages = runtime.sandbox.extract(received.file, received.media_type, limits, charset=received.charset)
        async with aclosing(pages):
            texts = [page.text async for page in pages]
    text = "\n\n".join(texts)
    if not text.strip():
        raise InvalidInput("No extractable text. Send a file with text that can be selected.")
    return ExtractedText(text, len(texts))
