import asyncio
import time

import pytest
import structlog
from prometheus_client import REGISTRY
from structlog.testing import LogCapture

from pipeline import circuit_breaker as module
from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker, wait_within


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    capture = LogCapture()
    monkeypatch.setattr(
        module, "log", structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.BoundLogger)
    )
    return capture


def count_failures() -> float:
    return REGISTRY.get_sample_value("sluice_redis_failures_total") or 0


def test_breaker_rests_after_a_failure_and_no_longer(clock: Clock) -> None:
    breaker = CircuitBreaker("redis", metrics.REDIS_FAILURES, open_seconds=5)
    assert not breaker.is_open
    breaker.trip(OSError())
    assert breaker.is_open
    clock.now += 4.9
    assert breaker.is_open
    clock.now += 0.2
    assert not breaker.is_open


def test_failures_during_the_rest_neither_prolong_it_nor_say_so_again(clock: Clock, logged: LogCapture) -> None:
    breaker = CircuitBreaker("redis", metrics.REDIS_FAILURES, open_seconds=5)
    before = count_failures()
    for _ in range(3):
        breaker.trip(OSError("gone"))
        clock.now += 2
    assert not breaker.is_open
    lines = [(entry["log_level"], entry["event"], entry["cause"]) for entry in logged.entries]
    assert lines == [("warning", "redis.unavailable", "OSError('gone')")]
    assert count_failures() - before == 1


def test_each_trip_has_its_line(clock: Clock, logged: LogCapture) -> None:
    breaker = CircuitBreaker("redis", metrics.REDIS_FAILURES, open_seconds=5)
    for _ in range(3):
        breaker.trip(OSError())
        clock.now += 6
    assert len(logged.entries) == 3


@pytest.mark.anyio
async def test_silence_ends_the_call() -> None:
    silent = asyncio.ensure_future(asyncio.sleep(60))
    started = time.perf_counter()
    with pytest.raises(TimeoutError):
        await wait_within(silent, 0.1)
    assert 0.09 < time.perf_counter() - started < 1
    await asyncio.wait([silent])
    assert silent.cancelled()


@pytest.mark.anyio
async def test_busy_process_is_not_taken_for_silence() -> None:
    async def answer() -> str:
        await asyncio.sleep(0.05)
        return "answer"

    async def hog() -> None:
        time.sleep(0.3)  # noqa: ASYNC251 - what must never happen, but does on a loaded machine

    hogging = asyncio.ensure_future(hog())
    assert await wait_within(answer(), 0.1) == "answer"
    await hogging


@pytest.mark.anyio
async def test_error_of_the_call_comes_through() -> None:
    async def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await wait_within(fail(), 0.1)
