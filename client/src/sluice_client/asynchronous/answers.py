"""Answers that arrive word by word."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import httpx2
import msgspec

from sluice_client.errors import BrokenOff, Problem, UnusableInput, make_error
from sluice_client.models import Answer, Passage
from sluice_client.responses import decode_json, make_unexpected_answer

MAX_EVENT_BYTES = 1024 * 1024
"""Bound on one event of an answer. The largest one holds 50 passages of 1,500 characters: about 0.5 MiB."""


@dataclass(frozen=True, slots=True)
class _Passages:
    passages: list[Passage]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str


class AsyncAnswerStream:
    """An answer while it is written. Iterate over it for the words, in a `with` block.

    `passages` are known with the first word, and `answer` after the last one.
    """

    def __init__(self, ask: Callable[[], Awaitable[httpx2.Response]]) -> None:
        self.passages: list[Passage] = []
        self.answer: Answer | None = None
        self._ask = ask
        self._response: httpx2.Response | None = None
        self._events: AsyncIterator[httpx2.ServerSentEvent] | None = None

    async def __aenter__(self) -> Self:
        self._response = await self._ask()
        self._events = aiter(httpx2.EventSource(self._response, MAX_EVENT_BYTES))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response:
            await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the words as they arrive.

        Raises AnswerUnavailable if the language model fails, BrokenOff and UnexpectedAnswer. The request is not
        repeated after these: a second answer would look like a continuation of the first one.
        """
        if self._response is None or self._events is None:
            raise UnusableInput("the stream is not open; use it in a `with` block")
        while self.answer is None:
            with _expect_events(self._response):
                event = await anext(self._events)
                words = self._take(event)
            if words:
                yield words

    def _take(self, event: httpx2.ServerSentEvent) -> str:
        """Keep what an event brings, and return its words."""
        match event.event:
            case "passages":
                self.passages = decode_json(event.data, _Passages).passages
            case "token":
                return decode_json(event.data, _Token).text
            case "error":
                raise make_error(decode_json(event.data, Problem))
            case "done":
                self.answer = replace(decode_json(event.data, Answer), passages=self.passages)
        return ""


@contextmanager
def _expect_events(response: httpx2.Response) -> Iterator[None]:
    """Translate what can happen to a stream."""
    try:
        yield
    except (httpx2.SSEError, msgspec.DecodeError):
        raise make_unexpected_answer(response) from None
    except (httpx2.TransportError, StopAsyncIteration):
        raise BrokenOff from None
