"""Makes the reranker that the settings name."""

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.reranking.reranker import PassageScorer, Reranker
from pipeline.settings import Settings


def make_reranker(settings: Settings) -> Reranker | None:
    """Return the reranker, or None if searches have none. It connects and loads on first use."""
    scorer = make_scorer(settings)
    if scorer is None:
        return None
    breaker = CircuitBreaker("reranker", metrics.RERANKER_FAILURES)
    return Reranker(scorer, breaker, settings.reranker_timeout_seconds)


def make_scorer(settings: Settings) -> PassageScorer | None:
    """Return the model alone, or None."""
    if settings.reranker == "none":
        return None
    if settings.reranker == "packaged":
        from pipeline.reranking.cross_encoder import (  # noqa: PLC0415 - imports a tokenizer
            PackagedReranker,
            find_packaged_folder,
        )

        return PackagedReranker(find_packaged_folder)
    from pipeline.reranking.server import RerankingServer  # noqa: PLC0415 - imports the HTTP client

    key = settings.reranker_api_key.get_secret_value() if settings.reranker_api_key else None
    return RerankingServer(str(settings.reranker), settings.reranker_model, key)
