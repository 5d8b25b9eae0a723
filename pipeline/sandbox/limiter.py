"""Pictures must not take the whole machine: some are drawn at once, a few wait, and the others are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipeline.errors import PageImageUnavailable


class Limiter:
    """Lets so many in at once, in the order in which they came."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._places = at_once + waiting
        self._present = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a turn.

        Raises PageImageUnavailable where too many wait.
        """
        if self._present >= self._places:
            raise PageImageUnavailable("Too many pictures are being drawn. Try again in a moment.")
        self._present += 1
        try:
            async with self._free:
                yield
        finally:
            self._present -= 1
