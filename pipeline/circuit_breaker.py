"""A circuit breaker: after a failure the server is not called for a while, so that callers do not wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from prometheus_client import Counter

from pipeline.logs import get_logger

OPEN_SECONDS = 5.0
"""Time for which the breaker stays open after a failure."""

TICKS = 10
"""Number of ticks into which `wait_within` divides its time limit."""

Result = TypeVar("Result")

log = get_logger()


class CircuitBreaker:
    """Shared by all callers of a server. After one of them has reported a failure, the others do not call it."""

    def __init__(
        self,
        server: str,
        failures: Counter,
        open_seconds: float = OPEN_SECONDS,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._event = f"{server}.unavailable"
        self._failures = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """True while callers must not call the server."""
        return self._clock() < self._open_until

    def trip(self, cause: BaseException) -> None:
        """Open the breaker. While it is open, further failures neither extend the pause nor write to the log."""
        if self.is_open:
            return
        self._open_until = self._clock() + self._open_seconds
        self._failures.inc()
        log.warning(self._event, cause=repr(cause), open_seconds=self._open_seconds)


async def wait_within(call: Awaitable[Result], seconds: float) -> Result:
    """Return the result of a call, or raise TimeoutError after `seconds`.

    Time is counted in ticks of the event loop. While this process is too busy to run the loop, no ticks are counted, so
    a burst of requests is not mistaken for a server that does not respond.
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
