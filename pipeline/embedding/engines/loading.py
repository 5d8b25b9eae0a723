"""Loads a model with the fastest engine that computes the right vectors on this machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Literal

import numpy as np

from pipeline.embedding.engines import sample
from pipeline.embedding.engines.export import REFERENCE_FILE
from pipeline.embedding.engines.export_cache import (
    ExportCache,
    ExportFailed,
    ExportInterrupted,
    LoadingCancelled,
    run_export,
)
from pipeline.embedding.engines.model_files import ModelUnloadable
from pipeline.embedding.engines.openvino_model import OpenVinoModel
from pipeline.embedding.engines.processor import choose_precision, read_instructions
from pipeline.embedding.engines.torch_model import CPU, DeviceFinder, TorchModel, find_device, may_have_gpu
from pipeline.embedding.model import EmbeddingModel, Precision, explain_excess
from pipeline.logs import get_logger

MEAN_COSINE = 0.99
"""Least mean cosine between the vectors of an engine and those of the reference."""
LEAST_COSINE = 0.95
"""Least cosine of any text of the sample. Texts in scripts that the model hardly knows differ most."""
RANKED = 10
RANK_TOLERANCE = 0.05
"""How much less similar than the tenth best text a text may be that an engine ranks among the ten best."""

UNUSABLE = (
    ExportFailed,
    ImportError,
    RuntimeError,
    ValueError,
    OSError,
    EOFError,
    TypeError,
    IndexError,
    OverflowError,
)
"""What the libraries raise if an exported model cannot be used."""

EngineChoice = Literal["auto", "torch", "openvino"]
DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]
Candidate = Callable[[], EmbeddingModel]
"""Loads the model with one engine. Raises EngineRefused if the engine cannot run it."""

log = get_logger()


class EngineRefused(Exception):
    """An engine cannot run the model, or computes other vectors than the reference."""


@dataclass(frozen=True)
class EngineOptions:
    """How models are loaded."""

    cache: Path
    """Folder of the exported models."""
    engine: EngineChoice = "auto"
    device: DeviceChoice = "auto"


def load_model(name: str, options: EngineOptions, cancelled: Event) -> EmbeddingModel:
    """Return the model, loaded with the fastest engine that computes the right vectors.

    The first load of a model exports it, which takes about 10 s, or 30 s for int8. Raises OSError, ValueError,
    RuntimeError, ImportError or KeyError if no engine can load it, LoadingCancelled if `cancelled` is set.
    """
    return load_first(name, list_candidates(name, options, cancelled, has_gpu=may_have_gpu()))


def load_first(name: str, candidates: Sequence[Candidate]) -> EmbeddingModel:
    """Return the model of the first candidate that does not refuse. The last candidate must not refuse.

    Raises ValueError if the vectors of the model are too large to store.
    """
    refusals: list[str] = []
    for load in candidates[:-1]:
        try:
            model = load()
            break
        except EngineRefused as refused:
            log.warning("engine.refused", model=name, cause=str(refused))
            refusals.append(str(refused))
    else:
        model = candidates[-1]()
    if excess := explain_excess(model.dimension):
        raise ValueError(f"it makes {excess}")
    model.refusals = refusals
    return model


def list_candidates(name: str, options: EngineOptions, cancelled: Event, *, has_gpu: bool) -> list[Candidate]:
    """Return the engines to try, the fastest first. The reference is the last.

    `has_gpu` is True if this machine seems to have a GPU.
    """
    reference = partial(TorchModel, name, device=options.device)
    if options.engine == "torch" or options.device in ("cuda", "mps"):
        return [reference]
    best = choose_precision(read_instructions())
    precisions = [best] if best != Precision.INT8 else [best, Precision.FLOAT32]
    cache = ExportCache(options.cache, run_export)
    exported: list[Candidate] = [partial(load_exported, name, cache, precision, cancelled) for precision in precisions]
    may_use_gpu = options.engine == "auto" and options.device == "auto" and has_gpu
    return [*([partial(load_on_gpu, name)] if may_use_gpu else []), *exported, reference]


def load_on_gpu(name: str, find: DeviceFinder = find_device) -> EmbeddingModel:
    """Return the model in torch on a GPU. Raises EngineRefused if torch finds none."""
    device = find("auto")
    if device == CPU:
        raise EngineRefused("torch finds no GPU that it can use, although this machine seems to have one")
    return TorchModel(name, device=device)


def load_exported(name: str, cache: ExportCache, precision: Precision, cancelled: Event) -> EmbeddingModel:
    """Return the model in OpenVINO. Raises EngineRefused, ModelUnloadable and LoadingCancelled."""
    try:
        folder = fetch_export(name, cache, precision, cancelled)
        model = OpenVinoModel(name, folder, precision)
        require_right_vectors(model, np.load(folder / REFERENCE_FILE))
    except (LoadingCancelled, ModelUnloadable):
        raise
    except UNUSABLE as error:
        raise EngineRefused(f"openvino {precision}: {error}") from error
    return model


def fetch_export(name: str, cache: ExportCache, precision: Precision, cancelled: Event) -> Path:
    """Return the folder of the exported model. A killed export is tried once more.

    Raises ExportFailed, ModelUnloadable and LoadingCancelled.
    """
    kind = Precision.INT8 if precision == Precision.INT8 else Precision.FLOAT32
    try:
        return cache.fetch(name, kind, cancelled)
    except ExportInterrupted:
        return cache.fetch(name, kind, cancelled)


def require_right_vectors(model: EmbeddingModel, reference: np.ndarray) -> None:
    """Embed the sample, and compare its vectors with those of the reference, of shape (texts, dimension).

    Raises EngineRefused if the vectors differ, or if a search would rank texts differently.
    """
    vectors = model.encode(sample.read_lines())
    label = f"{model.engine} {model.precision}"
    cosines = (vectors * reference).sum(axis=1)
    # A comparison with NaN is false.
    if not (cosines.mean() >= MEAN_COSINE and cosines.min() >= LEAST_COSINE):
        raise EngineRefused(f"{label}: cosine to the reference {cosines.mean():.3f}, at least {cosines.min():.3f}")
    loss = measure_rank_loss(vectors, reference)
    if loss > RANK_TOLERANCE:
        raise EngineRefused(f"{label}: a text among the {RANKED} best is {loss:.3f} less similar than it should be")


def measure_rank_loss(vectors: np.ndarray, reference: np.ndarray) -> float:
    """Return how much less similar than the tenth best text the worst text is that is ranked among the ten best.

    Each text is a question to all others. Ranks come from `vectors`, similarities from `reference`.
    """
    similarities = reference @ reference.T
    ranked = np.argsort(-(vectors @ vectors.T), axis=1)[:, :RANKED]
    worst = np.take_along_axis(similarities, ranked, axis=1).min(axis=1)
    tenth = -np.sort(-similarities, axis=1)[:, RANKED - 1]
    return float((tenth - worst).max())


def describe(model: EmbeddingModel) -> Mapping[str, object]:
    """Return what the log says about a model that was loaded."""
    return {
        "model": model.name,
        "engine": model.engine,
        "precision": model.precision,
        "device": model.device,
        "dimension": model.dimension,
    }
