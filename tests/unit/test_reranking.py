"""What an answer of a reranking server means, and what the settings name."""

import pytest

from pipeline.reranking.factory import make_reranker
from pipeline.reranking.reranker import ScoringFailed
from pipeline.reranking.server import read_scores
from pipeline.settings import Settings


@pytest.mark.parametrize(
    "answered",
    [
        b'{"results": []}',
        b'[{"index": 0, "score": 1}, {"index": 0, "score": 2}]',
        b'[{"index": 0, "score": 1}, {"index": 2, "score": 2}]',
        b'[{"index": 0, "score": 1}, {"index": -1, "score": 2}]',
        b'[{"index": 0, "score": 1}, {"index": 1, "score": 2}, {"index": 1, "score": 2}]',
        b'[{"index": 0, "score": 1}, {"index": 1, "score": null}]',
        b'[{"index": 0, "score": 1}, {"index": 1, "score": NaN}]',
        b'[{"index": 0, "score": 1}, {"index": 1, "score": 1e999}]',
        b'[{"index": 0, "score": 1}, {"index": 1, "relevance_score": 1}]',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": "1", "relevance_score": 1}]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_wrong_answers_are_refused(answered: bytes) -> None:
    with pytest.raises(ScoringFailed, match="does not answer with"):
        read_scores(answered, 2)


def test_without_a_reranker_there_is_none() -> None:
    assert make_reranker(Settings(_env_file=None)) is None
