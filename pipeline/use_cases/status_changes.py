"""Wait for the status of a document or a note to change."""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar
from uuid import UUID

from pipeline.runtime import Runtime
from pipeline.types import Document, Note, Status

Result = TypeVar("Result")
Item = TypeVar("Item", Document, Note)


async def wait(runtime: Runtime, item_id: UUID, read: Callable[[], Awaitable[Item]], seconds: float) -> Item:
    """Return what `read` returns when its status changes, or after `seconds`. Return a terminal status at once.

    Raises what `read` raises: NotFound if the document or note is deleted meanwhile.
    """
    seen: list[Status] = []

    def is_over(item: Item) -> bool:
        seen.append(item.status)
        return item.status.is_terminal or item.status != seen[0]

    return await wait_until(runtime, item_id, read, is_over, seconds)


async def wait_until(
    runtime: Runtime,
    item_id: UUID,
    read: Callable[[], Awaitable[Result]],
    is_over: Callable[[Result], bool],
    seconds: float,
) -> Result:
    """Return what `read` returns when that is over, or after `seconds`. It is read again after changes of an item.

    Raises what `read` raises.
    """
    deadline = monotonic() + seconds
    with runtime.changes.watch(item_id) as watch:
        while True:
            result = await read()
            left = deadline - monotonic()
            if is_over(result) or left <= 0:
                return result
            await watch.next(min(left, runtime.waits.poll))
