"""A breaker: a server is left alone for a while after it failed, so that its absence costs one wait in that time."""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import TypeVar

from prometheus_client import Counter

from pipeline.logs import get_logger

REST_SECONDS = 5.0

TICKS = 10

Result = TypeVar("Result")

log = get_logger()


class CircuitBreaker:
    """Shared by all who use a server: one of them notices the failure, the others save the wait."""

    def __init__(self, server: str, failures: Counter, rest_seconds: float = REST_SECONDS) -> None:
        self._event = f"{server}.unavailable"
        self._failures = failures
        self._rest_seconds = rest_seconds
        self._rests_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the server is to be left alone."""
        return monotonic() < self._rests_until

    def trip(self, cause: BaseException) -> None:
        """Leave the server alone from now on. Calls that were under way and fail as well change and log nothing."""
        if self.is_open:
            return
        self._rests_until = monotonic() + self._rest_seconds
        self._failures.inc()
        log.warning(self._event, cause=repr(cause), rests_seconds=self._rest_seconds)


async def wait_within(call: Awaitable[Result], seconds: float) -> Result:
    """Return the result of a call to Redis that may take so long.

    Time is counted in ticks of the event loop: while this process itself is too busy to look, no time passes, and
    a burst of requests does not look like a silent Redis. Raises TimeoutError.
    """
    task = asyncio.ensure_future(call)
    try:
        for _ in range(TICKS):
            done, _ = await asyncio.wait({task}, timeout=seconds / TICKS)
            if done:
                return task.result()
        raise TimeoutError
    finally:
        task.cancel()
