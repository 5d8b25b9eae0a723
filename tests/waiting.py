"""Waiting for other processes."""

import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.2


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for something to become true. Return how long it took."""
    started = time.monotonic()
    pause = FIRST_PAUSE_SECONDS
    while not condition():
        assert time.monotonic() < started + seconds, f"{what}: not within {seconds:g} s"
        time.sleep(pause)
        # Looking costs processor time, which the processes that are waited for need.
        pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)
    return time.monotonic() - started
