"""Wait for the status of a document or a note to change."""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar
from uuid import UUID

from pipeline.runtime import Runtime
from pipeline.types import Document, Note

Item = TypeVar("Item", Document, Note)


async def wait(runtime: Runtime, item_id: UUID, read: Callable[[], Awaitable[Item]], seconds: float) -> Item:
    """Return what `read` returns when its status changes, or after `seconds`. Return a terminal status at once.

    Raises what `read` raises: NotFound if the document or note is deleted meanwhile.
    """
    deadline = monotonic() + seconds
    with runtime.changes.watch(item_id) as watch:
        item = await read()
        first_status = item.status
        while not item.status.is_terminal and item.status == first_status:
            left = deadline - monotonic()
            if left <= 0:
                break
            await watch.next(min(left, runtime.waits.poll))
            item = await read()
    return item
