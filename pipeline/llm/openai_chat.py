"""An OpenAI-compatible server, through the openai SDK. The import takes a second, so `client` imports this late."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import cast

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk

from pipeline.circuit_breaker import CircuitBreaker
from pipeline.errors import AnswerUnavailable
from pipeline.logs import get_logger
from pipeline.stages.prompt import Prompt

RETRIES = 2
LONGEST_WAIT_SECONDS = 5
"""Longest `Retry-After` to wait for. If the server asks for more, the request is not retried."""
MAX_ANSWER_CHARACTERS = 20_000
MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""Maximum size of the whole stream. Each token is wrapped in about 300 bytes."""

FAILURES = (openai.OpenAIError, httpx2.HTTPError, TimeoutError, ValueError, RecursionError)
"""The errors of a misbehaving server. Its JSON can cause the last two."""

log = get_logger()


class InvalidAnswer(ValueError):
    """The response is not a chat completion, or is incomplete."""


@dataclass(frozen=True)
class Timeouts:
    """Time limits in seconds."""

    response: float
    """Until the stream begins, and between two words."""
    answer: float
    """For the whole answer."""


class Chat:
    """A connection pool to one server."""

    def __init__(self, base_url: str, model: str, api_key: str, timeouts: Timeouts, breaker: CircuitBreaker) -> None:
        self._model = model
        self._timeouts = timeouts
        self._breaker = breaker
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=RETRIES,
            timeout=timeouts.response,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_set_bounds]}),
        )

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Yield the words of the answer as they arrive. Closing the generator closes the connection.

        Raises AnswerUnavailable before or after any word.
        """
        try:
            async with aclosing(self._read_words(prompt)) as words:
                async for text in words:
                    yield text
        except FAILURES as error:
            failure, is_unavailable = _explain(error)
            # Only the types are logged: a server's message may contain our key or the user's text.
            kinds = [type(error).__name__, type(error.__cause__).__name__]
            log.warning("llm.failed", kinds=kinds, status=getattr(error, "status_code", None))
            if is_unavailable:
                self._breaker.trip(failure)
            raise failure from error

    async def _read_words(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Yield the words of the answer, up to 20,000 characters.

        The request has no sampling or length parameters, because servers disagree about them.
        """
        ends_at = monotonic() + self._timeouts.answer
        async with asyncio.timeout(self._timeouts.response):
            # One time limit for all retries together.
            stream = await self._client.chat.completions.create(
                model=self._model,
                messages=[
                    {"role": "system", "content": prompt.instructions},
                    {"role": "user", "content": prompt.question},
                ],
                stream=True,
            )
        async with stream:
            length = 0
            while length < MAX_ANSWER_CHARACTERS:
                async with asyncio.timeout(min(self._timeouts.response, ends_at - monotonic())):
                    chunk = await anext(stream, None)
                if chunk is None:
                    raise InvalidAnswer("the stream ended before the answer was complete")
                text, is_last = _read(chunk)
                length += len(text)
                yield text
                if is_last:
                    return

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _read(chunk: ChatCompletionChunk) -> tuple[str, bool]:
    """Return the text of a stream chunk, and whether it is the last. The SDK builds chunks from any JSON, unchecked."""
    try:
        if not chunk.choices:
            return "", False
        choice = chunk.choices[0]
        text = choice.delta.content or ""
        # Lone surrogates cannot be encoded.
        return text.encode(errors="replace").decode(), choice.finish_reason is not None
    except (AttributeError, TypeError, LookupError) as error:
        raise InvalidAnswer("not a chat completion") from error


def _explain(error: Exception) -> tuple[AnswerUnavailable, bool]:
    """Return the error for the user, and whether to open the circuit breaker."""
    match error:
        case TimeoutError() | openai.APITimeoutError():
            return _fail("The language model took too long."), True
        case openai.RateLimitError():
            return _fail("The language model is busy.", _read_retry_after(error.response)), True
        case openai.InternalServerError():
            return _fail(
                "The language model cannot be reached, or the connection was lost.", _read_retry_after(error.response)
            ), True
        case openai.APIConnectionError() | httpx2.HTTPError():
            return _fail("The language model cannot be reached, or the connection was lost."), True
        case openai.APIStatusError():
            return _fail("The language model refused the question. It may be too long: lower `top_k`."), False
        case _:
            return _fail("The language model gave no complete answer."), False


def _fail(reason: str, retry_after_seconds: int = 0) -> AnswerUnavailable:
    return AnswerUnavailable(
        f"{reason} Try again in a moment. The passages that were found are in `passages`.",
        retry_after_seconds=retry_after_seconds or AnswerUnavailable.retry_after_seconds,
    )


def _read_retry_after(response: httpx2.Response) -> int:
    """Return the seconds of `Retry-After`, or 0 if there is no such header. A date counts as too long."""
    value = response.headers.get("retry-after", "0")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 5 else LONGEST_WAIT_SECONDS + 1


async def _set_bounds(response: httpx2.Response) -> None:
    """Bound the length of a response and the wait before a retry. The SDK calls this before it reads the body."""
    response.stream = _Bounded(cast("httpx2.AsyncByteStream", response.stream))
    # We did not ask for compression. A compressed body could decode to any length.
    response.headers.pop("content-encoding", None)
    if _read_retry_after(response) > LONGEST_WAIT_SECONDS:
        response.headers["x-should-retry"] = "false"


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        room = MAX_RESPONSE_BYTES
        async for data in self._stream:
            room -= len(data)
            if room < 0:
                raise httpx2.ReadError("the response is too long")
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()
