"""Puts the best passages of a search into the order of a model, if it answers in time."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import exp
from time import perf_counter

from msgspec.structs import replace

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker, wait_within
from pipeline.errors import FieldError, InvalidInput, ModelUnavailable
from pipeline.logs import get_logger
from pipeline.types import Passage

AT_ONCE = 8
"""Maximum number of searches of a process that are reranked at the same time."""

log = get_logger()


class ScoringFailed(Exception):
    """A model gave no scores. The message completes "The reranker …", and quotes neither texts nor a server."""

    def __init__(self, message: str, *, is_of_texts: bool = False) -> None:
        super().__init__(message)
        self.is_of_texts = is_of_texts
        """True if the model refuses these texts, and may score others."""


class PassageScorer(ABC):
    """A model that tells how well texts answer a question."""

    depth: int
    """Maximum number of passages of a search that it compares."""
    gives_logits = False
    """Whether a score may be any number. Otherwise it is from 0 to 1."""

    def start(self) -> None:  # noqa: B027 - a server needs no start
        """Begin to load, so that the first search need not wait."""

    @abstractmethod
    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """Return a finite number for each text. The text that answers best has the highest.

        Raises ScoringFailed. A cancelled call stops soon.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release what the model holds."""


class Reranker:
    """Reorders passages within a time limit. Whatever fails, the passages keep their order.

    After a failure, the model is not asked for a while: `breaker` tells how long.
    """

    def __init__(self, scorer: PassageScorer, breaker: CircuitBreaker, timeout_seconds: float) -> None:
        self.depth = scorer.depth
        """Number of passages that are compared. Those after them keep their places."""
        self._scorer = scorer
        self._breaker = breaker
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._measuring = asyncio.Semaphore(1)
        """Texts of clients are scored in one batch after the other, so that searches need not wait for many."""

    def start(self) -> None:
        """Begin to load the model."""
        self._scorer.start()

    async def rerank(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        """Return the passages with the first of them in the order of the model.

        The scores stay in their order: the passage that the model puts first gets the highest. The numbers of models
        cannot be compared with each other.
        """
        if len(passages) < 2:
            return list(passages)
        head, rest = passages[: self.depth], passages[self.depth :]
        scores = await self._try(question, [passage.text for passage in head])
        if scores is None:
            return list(passages)
        order = sorted(range(len(head)), key=lambda index: -scores[index])
        ordered = [replace(head[index], score=passage.score) for index, passage in zip(order, head, strict=True)]
        return [*ordered, *rest]

    async def measure(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return how well each text of a client answers the question, from 0 to 1.

        Raises ModelUnavailable if the model does not answer in time, InvalidInput if it refuses these texts.
        """
        scores: list[float] = []
        for begin in range(0, len(texts), self.depth):
            async with self._measuring:
                scores += await self._measure(question, texts[begin : begin + self.depth])
        return scores

    async def _measure(self, question: str, texts: Sequence[str]) -> list[float]:
        if self._breaker.is_open:
            raise _explain_absence()
        try:
            scores = await wait_within(self._score(question, texts), self._timeout_seconds)
        except TimeoutError as error:
            raise _explain_absence() from error
        except ScoringFailed as failure:
            if failure.is_of_texts:
                problem = FieldError("documents", "are refused by the reranker")
                raise InvalidInput(
                    "The reranker refuses these texts. Send shorter ones.", errors=(problem,)
                ) from failure
            self._breaker.trip(failure)
            raise _explain_absence() from failure
        return [1 / (1 + exp(-score)) if self._scorer.gives_logits else min(max(score, 0), 1) for score in scores]

    async def close(self) -> None:
        """Close the model."""
        await self._scorer.close()

    async def _try(self, question: str, texts: Sequence[str]) -> Sequence[float] | None:
        """Return the scores, or None if the model does not give them."""
        if self._breaker.is_open:
            metrics.RERANKED_SEARCHES.labels("paused").inc()
            return None
        started = perf_counter()
        try:
            scores = await wait_within(self._score(question, texts), self._timeout_seconds)
        except TimeoutError as error:
            metrics.RERANKED_SEARCHES.labels("late").inc()
            self._breaker.trip(error)
            return None
        except ScoringFailed as failure:
            metrics.RERANKED_SEARCHES.labels("failed").inc()
            if failure.is_of_texts:
                log.warning("reranker.refused_texts", cause=str(failure))
            else:
                self._breaker.trip(failure)
            return None
        metrics.RERANKED_SEARCHES.labels("reranked").inc()
        metrics.RERANKER_SECONDS.observe(perf_counter() - started)
        return scores

    async def _score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        async with self._slots:
            return await self._scorer.score(question, texts)


def _explain_absence() -> ModelUnavailable:
    return ModelUnavailable("The reranker does not answer. Try again in a moment.")
