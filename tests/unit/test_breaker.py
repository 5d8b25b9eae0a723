import pytest
import structlog
from prometheus_client import REGISTRY
from structlog.testing import LogCapture

from pipeline import breaker as module
from pipeline.breaker import Breaker


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
    breaker = Breaker(rest_seconds=5)
    assert not breaker.is_open
    breaker.trip(OSError())
    assert breaker.is_open
    clock.now += 4.9
    assert breaker.is_open
    clock.now += 0.2
    assert not breaker.is_open


def test_failures_during_the_rest_neither_prolong_it_nor_say_so_again(clock: Clock, logged: LogCapture) -> None:
    breaker = Breaker(rest_seconds=5)
    before = count_failures()
    for _ in range(3):
        breaker.trip(OSError("gone"))
        clock.now += 2
    assert not breaker.is_open
    assert [(entry["event"], entry["cause"]) for entry in logged.entries] == [("redis.away", "OSError('gone')")]
    assert count_failures() - before == 1


def test_each_trip_has_its_line(clock: Clock, logged: LogCapture) -> None:
    breaker = Breaker(rest_seconds=5)
    for _ in range(3):
        breaker.trip(OSError())
        clock.now += 6
    assert len(logged.entries) == 3
