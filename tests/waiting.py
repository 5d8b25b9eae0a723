"""Waiting for what other processes do."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for something to become true; returns how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
    return time.monotonic() - started
