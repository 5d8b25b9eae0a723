import asyncio
import time

import pytest
from prometheus_client import REGISTRY

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker, wait_within
from tests.conftest import Logged


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("redis", metrics.REDIS_FAILURES, open_seconds=5, clock=clock)


def count_failures() -> float:
    return REGISTRY.get_sample_value("sluice_redis_failures_total") or 0


def test_breaker_is_open_after_a_failure_and_no_longer(clock: Clock, breaker: CircuitBreaker) -> None:
    assert not breaker.is_open
    breaker.trip(OSError())
    assert breaker.is_open
    clock.now += 4.9
    assert breaker.is_open
    clock.now += 0.2
    assert not breaker.is_open


def test_failures_while_open_neither_extend_the_pause_nor_are_logged(
    clock: Clock, breaker: CircuitBreaker, logged: Logged
) -> None:
    before = count_failures()
    for _ in range(3):
        breaker.trip(OSError("gone"))
        clock.now += 2
    assert not breaker.is_open
    lines = [(entry["log_level"], entry["event"], entry["cause"]) for entry in logged]
    assert lines == [("warning", "redis.unavailable", "OSError('gone')")]
    assert count_failures() - before == 1


def test_each_trip_is_logged(clock: Clock, breaker: CircuitBreaker, logged: Logged) -> None:
    for _ in range(3):
        breaker.trip(OSError())
        clock.now += 6
    assert len(logged) == 3


@pytest.mark.anyio
async def test_a_call_without_answer_ends_in_time() -> None:
    silent = asyncio.ensure_future(asyncio.sleep(60))
    started = time.perf_counter()
    with pytest.raises(TimeoutError):
        await wait_within(silent, 0.1)
    assert 0.09 < time.perf_counter() - started < 1
    await asyncio.wait([silent])
    assert silent.cancelled()


@pytest.mark.anyio
async def test_busy_process_does_not_look_like_a_silent_server() -> None:
    async def answer() -> str:
        await asyncio.sleep(0.05)
        return "answer"

    async def hog() -> None:
        time.sleep(0.3)  # noqa: ASYNC251 - blocks the event loop, as a loaded machine does

    hogging = asyncio.ensure_future(hog())
    assert await wait_within(answer(), 0.1) == "answer"
    await hogging


@pytest.mark.anyio
async def test_errors_of_the_call_are_passed_on() -> None:
    async def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await wait_within(fail(), 0.1)
