"""The language model, where there is one: its words as they come, or why they do not."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from pipeline.circuit_breaker import CircuitBreaker
from pipeline.errors import AnswerUnavailable
from pipeline.stages.prompt import Prompt

if TYPE_CHECKING:
    from pipeline.llm.openai_chat import Chat

NO_KEY = "none"
"""The SDK wants some key, and would else take another server's from the environment."""


class LanguageModel:
    """A model behind an OpenAI-compatible address; nothing is imported or connected before the first question."""

    def __init__(
        self, base_url: str, name: str, api_key: str | None, timeout_seconds: float, breaker: CircuitBreaker
    ) -> None:
        self.name = name
        self._base_url = base_url
        self._api_key = api_key or NO_KEY
        self._timeout_seconds = timeout_seconds
        self._breaker = breaker
        self._connecting = asyncio.Lock()
        self._chat: Chat | None = None

    async def write(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Yield the words of an answer as they come; closing this stops the model.

        Raises AnswerUnavailable, before the first word or after any; at once where the model has just failed others.
        """
        if self._breaker.is_open:
            raise AnswerUnavailable(
                "The language model is away. Try again in a moment; `passages` holds what was found."
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
        from pipeline.llm.openai_chat import Chat  # noqa: PLC0415 - takes a second, which only answers need

        return Chat(self._base_url, self.name, self._api_key, self._timeout_seconds, self._breaker)
