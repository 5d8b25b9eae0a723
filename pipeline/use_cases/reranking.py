"""Score texts of a caller with the reranker, without storing anything."""

from collections.abc import Sequence

from pipeline.errors import NotFound
from pipeline.runtime import Runtime


async def rerank(runtime: Runtime, question: str, texts: Sequence[str]) -> list[tuple[int, float]]:
    """Return the places of the texts and how well they answer the question, from 1 to 0, the best first.

    Raises NotFound if there is no reranker, and the errors of `Reranker.measure`.
    """
    if runtime.reranker is None:
        raise NotFound("This service has no reranker. Its operator can set one with RERANKER.")
    scores = await runtime.reranker.measure(question, texts)
    return sorted(enumerate(scores), key=lambda scored: -scored[1])
