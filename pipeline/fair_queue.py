"""A short queue in which callers take turns, so that one caller's flood does not hold up the others."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipeline.errors import Overloaded

Waiting = deque[asyncio.Future[None]]


class FairQueue:
    """Admit `at_once` callers at a time, each of them once. The others wait, and callers take turns.

    At most `waiting` requests wait, and at most `waiting_per_caller` of one caller. If the queue is full, a caller with
    a shorter line takes the place of the last request in the longest one.
    """

    def __init__(self, *, at_once: int, waiting: int, waiting_per_caller: int) -> None:
        self._at_once = at_once
        self._capacity = waiting
        self._line_capacity = waiting_per_caller
        self._running: set[str] = set()
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
            self._running.discard(caller)
            self._admit()

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
        """Give free turns to the callers who come first and have none."""
        while len(self._running) < self._at_once:
            caller = next((caller for caller in self._lines if caller not in self._running), None)
            if caller is None:
                return
            line = self._lines.pop(caller)
            turn = line.popleft()
            if line:
                self._lines[caller] = line
            if not turn.done():  # it may have been cancelled at the same moment
                self._running.add(caller)
                turn.set_result(None)

    def _withdraw(self, caller: str, turn: asyncio.Future[None]) -> None:
        """Leave the queue, or pass on the turn that was given at the same moment."""
        line = self._lines.get(caller)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[caller]
        elif not turn.cancelled() and turn.exception() is None:
            self._running.discard(caller)
            self._admit()


def _refuse() -> Overloaded:
    return Overloaded("Too many requests of this kind are waiting. Try again in a few seconds.")
