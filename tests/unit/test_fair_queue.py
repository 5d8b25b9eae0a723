"""Callers take turns, and a full queue refuses the caller with the longest line."""

import asyncio
from collections import Counter

import pytest

from pipeline.errors import Overloaded
from pipeline.fair_queue import FairQueue

pytestmark = pytest.mark.anyio


class Work:
    """Requests that hold their turn until the test ends it."""

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
        self.ends: dict[str, list[asyncio.Event]] = {}
        self.started: list[str] = []
        self.refused: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, *callers: str) -> list[asyncio.Task[None]]:
        tasks = []
        for caller in callers:
            tasks.append(asyncio.create_task(self._work(caller)))
            await settle()
        self._tasks += tasks
        return tasks

    async def finish(self, caller: str) -> None:
        self.ends[caller].pop(0).set()
        await settle()

    async def finish_all(self) -> None:
        while running := [caller for caller, ends in self.ends.items() if ends]:
            await self.finish(running[0])
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, caller: str) -> None:
        try:
            async with self._queue.turn(caller):
                self.started.append(caller)
                end = asyncio.Event()
                self.ends.setdefault(caller, []).append(end)
                await end.wait()
        except Overloaded:
            self.refused[caller] += 1


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


def make(*, at_once: int = 1, per_caller: int = 1, waiting: int = 6, waiting_per_caller: int = 4) -> Work:
    queue = FairQueue(
        at_once=at_once, at_once_per_caller=per_caller, waiting=waiting, waiting_per_caller=waiting_per_caller
    )
    return Work(queue)


async def test_newcomer_does_not_wait_behind_a_flood() -> None:
    work = make()
    await work.ask(*["flood"] * 5, "anna", "bert")
    for _ in range(3):
        await work.finish(work.started[-1])
    assert work.started == ["flood", "flood", "anna", "bert"]
    await work.finish_all()
    assert Counter(work.started) == {"flood": 5, "anna": 1, "bert": 1}


async def test_caller_has_one_turn_at_a_time() -> None:
    work = make(at_once=2)
    await work.ask("flood", "flood", "anna")
    assert work.started == ["flood", "anna"]
    await work.finish("anna")
    assert work.started == ["flood", "anna"]
    await work.finish_all()
    assert work.started == ["flood", "anna", "flood"]


async def test_caller_has_as_many_turns_as_allowed() -> None:
    work = make(at_once=3, per_caller=2)
    await work.ask("a", "a", "a", "b")
    assert work.started == ["a", "a", "b"]
    await work.finish("b")
    assert work.started == ["a", "a", "b"], "the third turn is free, and not for this caller"
    await work.finish("a")
    assert work.started == ["a", "a", "b", "a"]
    await work.finish_all()


async def test_line_of_a_caller_is_bounded() -> None:
    work = make()
    await work.ask(*["flood"] * 7)
    assert work.refused == {"flood": 2}
    await work.finish_all()


async def test_full_queue_refuses_the_longest_line() -> None:
    work = make(waiting=4)
    await work.ask("first", *["flood"] * 4, "anna", "bert")
    assert work.refused == {"flood": 2}
    await work.ask("flood", "carl", "dora")
    # Now every line has one request, and whoever came first stays.
    assert work.refused == {"flood": 4, "dora": 1}
    await work.finish_all()
    assert Counter(work.started) == {"first": 1, "flood": 1, "anna": 1, "bert": 1, "carl": 1}


async def test_cancelled_request_leaves_the_queue() -> None:
    work = make(waiting=1)
    await work.ask("first")
    [waiting] = await work.ask("anna")
    waiting.cancel()
    await settle()
    await work.ask("bert")
    assert work.refused == {}
    await work.finish_all()
    assert work.started == ["first", "bert"]


async def test_turn_given_to_a_cancelled_request_is_passed_on() -> None:
    work = make()
    await work.ask("first")
    waiting, _ = await work.ask("anna", "bert")
    work.ends["first"][0].set()
    await asyncio.sleep(0)
    waiting.cancel()
    await settle()
    assert work.started == ["first", "bert"]
    work.ends["first"].clear()
    await work.finish_all()


async def test_failure_ends_the_turn() -> None:
    queue = FairQueue(at_once=1, waiting=1, waiting_per_caller=1)
    with pytest.raises(ZeroDivisionError):
        async with queue.turn("anna"):
            raise ZeroDivisionError
    async with asyncio.timeout(5), queue.turn("bert"):
        pass
