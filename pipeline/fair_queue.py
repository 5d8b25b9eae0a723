"""A short queue in which callers take turns, so that one caller's flood does not hold up the others."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipeline.errors import Overloaded

Waiting = deque[asyncio.Future[None]]


class FairQueue:
    """Admit `at_once` requests at a time, at most `at_once_per_caller` of one caller. The others wait in turn.

    At most `waiting` requests wait, and at most `waiting_per_caller` of one caller. If the queue is full, a caller with
    a shorter line takes the place of the last request in the longest one.
    """

    def __init__(self, *, at_once: int, at_once_per_caller: int = 1, waiting: int, waiting_per_caller: int) -> None:
        self._at_once = at_once
        self._at_once_per_caller = at_once_per_caller
        self._capacity = waiting
        self._line_capacity = waiting_per_caller
        self._running: Counter[str] = Counter()
        # The caller whose turn is next comes first.
        self._lines: OrderedDict[str, Waiting] = OrderedDict()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it until the block ends.

        Raises Overloaded if too many requests are waiting.
        """
        await self._enter(caller)
        try:
            yield
        finally:
            self._release(caller)

    async def _enter(self, caller: str) -> None:
        self._make_room(caller)
        turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            self._withdraw(caller, turn)
            raise

    def _make_room(self, caller: str) -> None:
        """Refuse this request if its caller has the longest line, or the last request of the longest line."""
        own = len(self._lines.get(caller, ()))
        if own >= self._line_capacity:
            raise _refuse()
        if sum(map(len, self._lines.values())) < self._capacity:
            return
        longest = max(self._lines.values(), key=len)
        if own + 1 >= len(longest):
            raise _refuse()
        last = longest.pop()
        if not last.done():  # it may have been cancelled at the same moment
            last.set_exception(_refuse())

    def _admit(self) -> None:
        """Give free turns to the callers who come first and may have one more."""
        while self._running.total() < self._at_once:
            caller = next((each for each in self._lines if self._running[each] < self._at_once_per_caller), None)
            if caller is None:
                return
            line = self._lines.pop(caller)
            turn = line.popleft()
            if line:
                self._lines[caller] = line
            if not turn.done():  # it may have been cancelled at the same moment
                self._running[caller] += 1
                turn.set_result(None)

    def _release(self, caller: str) -> None:
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        self._admit()

    def _withdraw(self, caller: str, turn: asyncio.Future[None]) -> None:
        """Leave the queue, or pass on the turn that was given at the same moment."""
        line = self._lines.get(caller)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[caller]
        elif not turn.cancelled() and turn.exception() is None:
            self._release(caller)


def _refuse() -> Overloaded:
    return Overloaded("Too many requests of this kind are waiting. Try again in a few seconds.")
