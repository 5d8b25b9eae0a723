"""A shared reading is computed once for all callers, and again when it is too old."""

import asyncio
from itertools import count

import pytest

from pipeline.shared_reading import SharedReading

pytestmark = pytest.mark.anyio


class Clock:
    """A monotonic clock that tests move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_callers_at_the_same_time_share_one_computation() -> None:
    numbers = count()

    async def compute() -> int:
        await asyncio.sleep(0)
        return next(numbers)

    reading = SharedReading(compute, seconds=5, clock=Clock())
    assert await asyncio.gather(*(reading.read() for _ in range(20))) == [0] * 20


async def test_value_is_computed_again_when_it_is_too_old() -> None:
    numbers, clock = count(), Clock()

    async def compute() -> int:
        return next(numbers)

    reading = SharedReading(compute, seconds=5, clock=clock)
    read = []
    for clock.now in (0, 4.9, 5, 9.9, 10):
        read.append(await reading.read())
    assert read == [0, 0, 1, 1, 2]


async def test_an_error_is_not_kept() -> None:
    answers = iter([ValueError("fails"), None])

    async def compute() -> str:
        if error := next(answers):
            raise error
        return "value"

    reading = SharedReading(compute, seconds=5, clock=Clock())
    with pytest.raises(ValueError, match="fails"):
        await reading.read()
    assert await reading.read() == "value"
