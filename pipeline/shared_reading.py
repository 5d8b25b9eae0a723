"""A value that many callers read: it is computed for all of them together, not once for each."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

Value = TypeVar("Value")


class SharedReading(Generic[Value]):
    """A value that is at most `seconds` old. One caller computes it while the others wait for it."""

    def __init__(
        self, compute: Callable[[], Awaitable[Value]], *, seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._compute = compute
        self._seconds = seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._latest: tuple[Value, float] | None = None
        """The value, and when it was computed."""

    async def read(self) -> Value:
        """Return the value.

        Raises the errors of `compute`. They are not kept: the next caller computes again.
        """
        async with self._lock:
            if self._latest and self._clock() - self._latest[1] < self._seconds:
                return self._latest[0]
            value = await self._compute()
            self._latest = value, self._clock()
            return value
