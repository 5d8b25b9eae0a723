"""The packaged reranker. Most tests are skipped if the package with its model is not installed."""

import asyncio
import importlib.util
import math
import sys
from pathlib import Path

import pytest

from pipeline import metrics
from pipeline.circuit_breaker import CircuitBreaker
from pipeline.embedding.engines.openvino_model import TELEMETRY
from pipeline.embedding.model import Precision
from pipeline.reranking.cross_encoder import (
    INSTALLATION,
    PACKAGE,
    CrossEncoder,
    PackagedReranker,
    find_packaged_folder,
)
from pipeline.reranking.factory import make_scorer
from pipeline.reranking.reranker import Reranker, ScoringFailed
from pipeline.settings import Settings
from tests.integration.test_reranking import list_texts, make_passages

pytestmark = pytest.mark.anyio

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"the packaged reranker is not installed: {INSTALLATION}"
)
QUESTION = "When is the lock closed to boats?"
TEXTS = (
    "The lock keeper lives in the yellow house by the canal.",
    "Above 3.2 metres at the footbridge, no boat may pass the lock.",
    "Bread is baked at four in the morning.",
)
SCORES = (-9.05, -1.06, -11.21)
"""What the file computes as it is, with inputs that are rounded to integers."""


def go_on() -> bool:
    return False


@needs_package
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.INT8, Precision.BFLOAT16])
def test_model_prefers_the_answer_in_each_precision(precision: Precision) -> None:
    model = CrossEncoder(find_packaged_folder(), precision)
    scores = model.score(QUESTION, TEXTS, go_on)
    assert scores == pytest.approx(SCORES, abs=0.6)
    long = model.score("boat " * 4_000, [text * 500 for text in TEXTS], go_on)
    assert len(long) == 3
    assert all(map(math.isfinite, long))
    assert model.score(QUESTION, [], go_on) == []
    assert all(map(math.isnan, model.score(QUESTION, TEXTS, lambda: True))), "a cancelled call computes nothing"


@needs_package
async def test_passages_get_the_order_of_the_model() -> None:
    scorer = make_scorer(Settings(_env_file=None, reranker="packaged"))
    assert scorer
    scorer.start()
    reranker = Reranker(scorer, CircuitBreaker("reranker", metrics.RERANKER_FAILURES), 60)
    passages = make_passages(*TEXTS)
    found = await asyncio.gather(*(reranker.rerank(QUESTION, passages) for _ in range(3)))
    assert [list_texts(each)[0] for each in found] == [TEXTS[1]] * 3
    assert PACKAGE not in sys.modules, "only its files are read"
    assert TELEMETRY not in sys.modules
    await reranker.close()


@needs_package
async def test_late_model_keeps_the_order_and_stops() -> None:
    scorer = PackagedReranker(find_packaged_folder)
    await scorer.score(QUESTION, TEXTS)
    reranker = Reranker(scorer, CircuitBreaker("reranker", metrics.RERANKER_FAILURES), 0.001)
    passages = make_passages(*["The lock is closed to boats. " * 60] * 20)
    assert await reranker.rerank(QUESTION, passages) == passages
    async with asyncio.timeout(60):
        assert len(await scorer.score(QUESTION, TEXTS)) == 3, "the thread takes the next search"
    await reranker.close()


@pytest.mark.parametrize(
    ("files", "problem"),
    [(None, f"is not installed: {INSTALLATION}"), ({}, "cannot be loaded"), ({"model.onnx": b"?"}, "cannot be loaded")],
    ids=["no package", "no files", "broken file"],
)
async def test_missing_model_keeps_the_order(tmp_path: Path, files: dict[str, bytes] | None, problem: str) -> None:
    def find() -> Path:
        if files is None:
            return find_packaged_folder("no_such_package")
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return tmp_path

    scorer = PackagedReranker(find)
    scorer.start()
    with pytest.raises(ScoringFailed, match=problem):
        await scorer.score(QUESTION, TEXTS)
    await scorer.close()
