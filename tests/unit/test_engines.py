"""Which engine a processor gets, and which engines are refused."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from pipeline.embedding.engines import sample
from pipeline.embedding.engines.export_cache import ExportCache, ExportInterrupted
from pipeline.embedding.engines.loading import (
    EngineOptions,
    EngineRefused,
    fetch_export,
    list_candidates,
    load_exported,
    load_first,
    load_on_gpu,
    measure_rank_loss,
    require_right_vectors,
)
from pipeline.embedding.engines.processor import choose_precision, read_instructions
from pipeline.embedding.engines.torch_model import choose_cpu_precision
from pipeline.embedding.model import EmbeddingModel, Engine, Precision, Tokens

DIMENSION = 64


@pytest.mark.parametrize(
    ("instructions", "precision"),
    [
        ("fma avx2", Precision.FLOAT32),
        ("avx2 avx512f avx512bw", Precision.FLOAT32),
        ("avx2 avx_vnni", Precision.INT8),
        ("avx2 avx512f avx512_vnni", Precision.INT8),
        ("avx2 avx512f avx512_vnni avx512_bf16", Precision.INT8),
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile", Precision.BFLOAT16),
        ("", Precision.FLOAT32),
    ],
)
def test_precision_fits_the_processor(instructions: str, precision: Precision) -> None:
    assert choose_precision(instructions.split()) == precision


@pytest.mark.parametrize(
    ("limit", "precision"),
    [
        ("", Precision.BFLOAT16),
        ("AVX512_CORE_BF16", Precision.INT8),
        ("avx512_core_vnni", Precision.INT8),
        ("AVX512_CORE", Precision.FLOAT32),
        ("AVX2_VNNI", Precision.INT8),
        ("AVX2", Precision.FLOAT32),
    ],
)
def test_limit_on_instructions_is_obeyed(tmp_path: Path, limit: str, precision: Precision) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("model name\t: any\nflags\t\t: avx2 avx512f avx512_vnni avx512_bf16 avx_vnni amx_bf16\n")
    assert choose_precision(read_instructions(file, {"ONEDNN_MAX_CPU_ISA": limit})) == precision


def test_system_without_a_list_of_instructions(tmp_path: Path) -> None:
    assert choose_precision(read_instructions(tmp_path / "none", {})) == Precision.FLOAT32


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_f": True}, Precision.FLOAT32),
        ({"amx_bf16": False, "avx512_bf16": True}, Precision.BFLOAT16),
        ({"amx_bf16": True}, Precision.BFLOAT16),
    ],
)
def test_precision_of_torch_fits_the_processor(capabilities: dict[str, bool], precision: Precision) -> None:
    assert choose_cpu_precision(capabilities) == precision


class FixedModel(EmbeddingModel):
    """Returns the same vectors for each pass over the sample."""

    engine, precision, device, dimension, name = Engine.OPENVINO, Precision.INT8, "cpu", DIMENSION, "fixed"

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return [[number] for number in range(len(texts))]

    def embed(self, batch: Sequence[Tokens]) -> np.ndarray:
        return self.vectors[[tokens[0] for tokens in batch]]


def normalize(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return normalize(np.random.default_rng(1).normal(size=(len(sample.read_lines()), DIMENSION)))


def add_noise(reference: np.ndarray, amount: float) -> np.ndarray:
    return normalize(reference + np.random.default_rng(2).normal(scale=amount, size=reference.shape))


def test_engine_with_a_little_noise_is_accepted(reference: np.ndarray) -> None:
    require_right_vectors(FixedModel(add_noise(reference, 0.005)), reference)


def replace_one(reference: np.ndarray) -> np.ndarray:
    changed = reference.copy()
    changed[3] = normalize(reference[[3]] + 0.5 * reference[[4]])[0]
    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda reference: add_noise(reference, 0.03),
        lambda reference: np.roll(reference, 1, axis=0),
        lambda reference: np.full_like(reference, np.nan),
        lambda reference: reference * 0.98,
        replace_one,
    ],
    ids=["noise", "exchanged", "not a number", "too short", "one text"],
)  # fmt: skip
def test_engine_with_wrong_vectors_is_refused(reference: np.ndarray, change: object) -> None:
    assert callable(change)
    with pytest.raises(EngineRefused, match=r"^openvino int8: cosine"):
        require_right_vectors(FixedModel(change(reference)), reference)


def test_rank_loss_is_the_similarity_that_is_lost() -> None:
    angles = np.linspace(0, 1.5, 12)
    reference = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert measure_rank_loss(reference, reference) == 0
    exchanged = reference.copy()
    exchanged[[0, 11]] = reference[[11, 0]]
    assert measure_rank_loss(exchanged, reference) > 0.05


def test_next_engine_is_tried_after_a_refusal(reference: np.ndarray) -> None:
    model = FixedModel(reference)

    def refuse() -> EmbeddingModel:
        raise EngineRefused("wrong vectors")

    assert load_first("any", [refuse, refuse, lambda: model]) is model
    assert model.refusals == ["wrong vectors", "wrong vectors"]
    assert load_first("any", [refuse, lambda: model, refuse]) is model
    assert model.refusals == ["wrong vectors"]


def test_model_whose_vectors_are_too_large_to_store_is_refused() -> None:
    model = FixedModel(np.zeros((1, 1), np.float32))
    model.dimension = 3_801
    with pytest.raises(ValueError, match="vectors of 3801 numbers, but at most 3800 can be stored"):
        load_first("any", [lambda: model])


def test_killed_export_is_tried_once_more(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    attempts: list[Path] = []

    def fail_once(_name: str, _precision: Precision, folder: Path, _cancelled: Event) -> None:
        attempts.append(folder)
        if len(attempts) == 1:
            raise ExportInterrupted("killed")

    cache = ExportCache(tmp_path / "cache", fail_once)
    assert fetch_export(str(tmp_path), cache, Precision.BFLOAT16, Event()).is_dir()
    assert len(attempts) == 2


def test_failure_of_the_last_engine_is_not_hidden() -> None:
    def fail() -> EmbeddingModel:
        raise OSError("no such model")

    with pytest.raises(OSError, match="no such model"):
        load_first("any", [fail])


FOLDER = Path("unused")


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (EngineOptions(FOLDER, engine="torch"), 1),
        (EngineOptions(FOLDER, device="cuda"), 1),
        (EngineOptions(FOLDER, device="mps"), 1),
        (EngineOptions(FOLDER, device="cpu"), 2),
        (EngineOptions(FOLDER, engine="openvino"), 2),
    ],
)
def test_torch_alone_runs_on_gpus(options: EngineOptions, number: int) -> None:
    for has_gpu in (False, True):
        assert min(len(list_candidates("any", options, Event(), has_gpu=has_gpu)), 2) == number


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (EngineOptions(FOLDER), 1),
        (EngineOptions(FOLDER, device="cpu"), 0),
        (EngineOptions(FOLDER, engine="openvino"), 0),
    ],
)
def test_gpu_is_tried_before_openvino(options: EngineOptions, number: int) -> None:
    with_gpu, without = (list_candidates("any", options, Event(), has_gpu=has_gpu) for has_gpu in (True, False))
    assert len(with_gpu) == len(without) + number
    assert getattr(with_gpu[0], "func", None) == (load_on_gpu if number else load_exported)


def test_missing_gpu_is_refused_so_that_openvino_is_next() -> None:
    with pytest.raises(EngineRefused, match="torch finds no GPU that it can use"):
        load_on_gpu("any", lambda _wanted: "cpu")
