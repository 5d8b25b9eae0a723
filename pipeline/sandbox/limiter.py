"""Limits the number of page images drawn at once, so that they do not use all of the CPU."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipeline.errors import PageImageUnavailable


class Limiter:
    """Admit `at_once` callers at a time, in the order of their arrival. At most `waiting` more may wait."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._capacity = at_once + waiting
        self._present = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it until the block ends.

        Raises PageImageUnavailable if too many callers are waiting.
        """
        if self._present >= self._capacity:
            raise PageImageUnavailable("Too many page images are being drawn. Try again in a moment.")
        self._present += 1
        try:
            async with self._free:
                yield
        finally:
            self._present -= 1
