"""An OpenAI-compatible server, through the openai SDK. Importing it takes a second, so the client imports it late."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
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
"""A server that wants to be left alone for longer is not tried again."""
WHOLE_ANSWER_SECONDS = 300.0
MAX_ANSWER_CHARACTERS = 20_000
MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""Each token comes with some 300 bytes around it."""

FAILURES = (openai.OpenAIError, httpx2.HTTPError, TimeoutError, ValueError, RecursionError)
"""How a misbehaving server looks from here; the last two are what its JSON may do."""

log = get_logger()


class UnfitAnswer(ValueError):
    """The server sent no chat completion, or not all of it."""


class Chat:
    """A connection pool to one server."""

    def __init__(
        self, base_url: str, model: str, api_key: str, timeout_seconds: float, breaker: CircuitBreaker
    ) -> None:
        self._model = model
        self._timeout_seconds = timeout_seconds
        self._breaker = breaker
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=RETRIES,
            timeout=timeout_seconds,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_set_bounds]}),
        )

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Yield the words of the answer as they come. Closing this ends the connection, and so the generation.

        Raises AnswerUnavailable, before the first word or after any.
        """
        try:
            async with aclosing(self._read_words(prompt)) as words:
                async for text in words:
                    yield text
        except FAILURES as error:
            failure, is_away = _explain(error)
            # Kinds, no messages: in the server's may stand anything, our key and the user's text included.
            kinds = [type(error).__name__, type(error.__cause__).__name__]
            log.warning("llm.failed", kinds=kinds, status=getattr(error, "status_code", None))
            if is_away:
                self._breaker.trip(failure)
            raise failure from error

    async def _read_words(self, prompt: Prompt) -> AsyncGenerator[str]:
        """No parameter of sampling or length is sent: servers disagree about them. What grows too long is ended."""
        ends_at = monotonic() + WHOLE_ANSWER_SECONDS
        async with asyncio.timeout(self._timeout_seconds):
            # One deadline for all tries together.
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
                async with asyncio.timeout(min(self._timeout_seconds, ends_at - monotonic())):
                    chunk = await anext(stream, None)
                if chunk is None:
                    raise UnfitAnswer("the answer ended before its end")
                text, is_last = _read(chunk)
                length += len(text)
                yield text
                if is_last:
                    return

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _read(chunk: ChatCompletionChunk) -> tuple[str, bool]:
    """Text of a chunk, and whether it is the last with text. The SDK builds chunks from any JSON, unchecked."""
    try:
        if not chunk.choices:
            return "", False
        choice = chunk.choices[0]
        text = choice.delta.content or ""
        # A lone surrogate is no text that could be sent on.
        return text.encode(errors="replace").decode(), choice.finish_reason is not None
    except (AttributeError, TypeError, LookupError) as error:
        raise UnfitAnswer("this is no chat completion") from error


def _explain(error: Exception) -> tuple[AnswerUnavailable, bool]:
    """Return what the user is told of one of FAILURES, and whether the server is better left alone for a while."""
    match error:
        case TimeoutError() | openai.APITimeoutError():
            return _fail("The language model took too long."), True
        case openai.RateLimitError():
            return _fail("The language model is busy.", _read_retry_after(error.response)), True
        case openai.InternalServerError():
            return _fail("The language model cannot be reached, or broke off.", _read_retry_after(error.response)), True
        case openai.APIConnectionError() | httpx2.HTTPError():
            return _fail("The language model cannot be reached, or broke off."), True
        case openai.APIStatusError():
            return _fail("The language model refused the question. It may be too much for it: lower `top_k`."), False
        case _:
            return _fail("The language model gave no whole answer."), False


def _fail(what: str, retry_after_seconds: int = 0) -> AnswerUnavailable:
    return AnswerUnavailable(
        f"{what} Try again in a moment; `passages` holds what was found.",
        retry_after_seconds=retry_after_seconds or AnswerUnavailable.retry_after_seconds,
    )


def _read_retry_after(response: httpx2.Response) -> int:
    """Seconds that the server wants to be left alone; 0 where it does not say. A date counts as long."""
    value = response.headers.get("retry-after", "0")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 5 else LONGEST_WAIT_SECONDS + 1


async def _set_bounds(response: httpx2.Response) -> None:
    """The SDK's hook for each response, before its body: bounds of its length, and of the wait for another try."""
    response.stream = _Bounded(cast("httpx2.AsyncByteStream", response.stream))
    # Not asked for; decoded it could be of any length.
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
