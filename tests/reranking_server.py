"""Answers of a reranking server, for `run_llm_server`."""

from tests.embedding_server import answer
from tests.llm_server import Call


def count_words(question: str, text: str) -> int:
    """Return the number of words of a text that are in the question."""
    return sum(word in question.split() for word in text.split())


def rerank(call: Call) -> None:
    """Score texts by their words in the protocol of the request, the best first."""
    is_tei = "texts" in call.body
    texts = call.body["texts" if is_tei else "documents"]
    scores = [(index, count_words(call.body["query"], text) / 10) for index, text in enumerate(texts)]
    results = [
        {"index": index, "score" if is_tei else "relevance_score": score}
        for index, score in sorted(scores, key=lambda pair: -pair[1])
    ]
    answer(call, results if is_tei else {"id": "1", "results": results, "usage": {"total_tokens": 3}})
