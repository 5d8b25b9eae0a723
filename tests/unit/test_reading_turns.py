"""The streams of an account read one at a time. Those of other accounts do not wait for them."""

import asyncio
from time import monotonic
from uuid import uuid4

import pytest

from pipeline.reading_turns import ReadingTurns

pytestmark = pytest.mark.anyio


async def test_streams_of_an_account_read_one_at_a_time_in_order() -> None:
    turns, owner = ReadingTurns(pause_seconds=0), uuid4()
    steps: list[tuple[int, str]] = []

    async def read(number: int) -> None:
        async with turns.take(owner):
            steps.append((number, "begins"))
            await turns.pause()
            steps.append((number, "ends"))

    await asyncio.gather(*(read(number) for number in range(5)))
    assert steps == [(number, step) for number in range(5) for step in ("begins", "ends")]


async def test_other_accounts_do_not_wait() -> None:
    turns = ReadingTurns()
    async with turns.take(uuid4()), asyncio.timeout(5), turns.take(uuid4()):
        pass


async def test_pauses_of_different_accounts_follow_each_other() -> None:
    """Otherwise the streams of many accounts together would take the whole process."""
    turns, started = ReadingTurns(pause_seconds=0.02), monotonic()

    async def read() -> None:
        async with turns.take(uuid4()):
            await turns.pause()

    await asyncio.gather(*(read() for _ in range(5)))
    assert monotonic() - started >= 5 * 0.02
