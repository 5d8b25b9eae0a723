"""The language model, connected on first use."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from pipeline.circuit_breaker import CircuitBreaker
from pipeline.errors import AnswerUnavailable
from pipeline.stages.prompt import Prompt

if TYPE_CHECKING:
    from pipeline.llm.openai_chat import Chat

ANSWER_SECONDS = 300.0
"""Time limit for a whole answer."""
NO_KEY = "none"
"""Placeholder. Without a key, the SDK would read the key of another server from the environment."""


class LanguageModel:
    """A model at an OpenAI-compatible URL. The SDK is imported and connected on the first question."""

    def __init__(
        self,
        base_url: str,
        name: str,
        api_key: str | None,
        timeout_seconds: float,
        breaker: CircuitBreaker,
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.name = name
        self._base_url = base_url
        self._api_key = api_key or NO_KEY
        self._timeout_seconds = timeout_seconds
        self._answer_seconds = answer_seconds
        self._breaker = breaker
        self._connecting = asyncio.Lock()
        self._chat: Chat | None = None

    async def write(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Yield the words of an answer as they arrive. Closing the generator stops the model.

        Raises AnswerUnavailable before or after any word, or at once if the circuit breaker is open.
        """
        if self._breaker.is_open:
            raise AnswerUnavailable(
                "The language model is unavailable. Try again in a moment. "
                "The passages that were found are in `passages`."
            )
        chat = await self._connect()
        async with aclosing(chat.stream(prompt)) as words:
            async for text in words:
                yield text

    async def close(self) -> None:
        """Close the connections."""
        if self._chat:
            await self._chat.close()

    async def _connect(self) -> "Chat":
        async with self._connecting:
            if self._chat is None:
                self._chat = await asyncio.to_thread(self._load)
        return self._chat

    def _load(self) -> "Chat":
        from pipeline.llm.openai_chat import Chat, Timeouts  # noqa: PLC0415 - slow to import

        timeouts = Timeouts(self._timeout_seconds, self._answer_seconds)
        return Chat(self._base_url, self.name, self._api_key, timeouts, self._breaker)
