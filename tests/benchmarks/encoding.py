"""`python -m tests.benchmarks.encoding FILE…`: how fast the service's model encodes the text of PDF files.

The model is compared with torch, with the limit of the processor and, if there is one, with a GPU. Times are processor
times of one thread. ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI, or AVX2, simulates another processor.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.embedding.model import EmbeddingModel, Precision
from pipeline.stages.chunk import split_page
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from pipeline.types import PageText, TextChunk
from tests.benchmarks.comparisons import compute_ratios
from tests.benchmarks.machine import read_machine
from tests.benchmarks.matrices import compute_operations, measure_matrix_peak
from tests.benchmarks.models import load_model, load_on_gpu, load_reference
from tests.benchmarks.report import Report

PDF = "application/pdf"
TURNS = 3
REFERENCES = (Precision.BFLOAT16, Precision.FLOAT32)
SAMPLE_CHUNKS = 128
"""Chunks that are encoded, about, taken evenly from all files."""


def extract(file: Path) -> list[PageText]:
    """Return the pages of a PDF file."""
    with file.open("rb") as content:
        extracted = get_format(PDF).readers[0](SourceFile(content)).pages
        return [PageText(number, 0, page.sections) for number, page in enumerate(extracted, start=1)]


def choose_sample(passages: Sequence[TextChunk]) -> Sequence[TextChunk]:
    """Return about 128 chunks."""
    return passages[:: max(1, len(passages) // SAMPLE_CHUNKS)]


def time_cpu(work: Callable[[], object]) -> float:
    """Return the processor seconds of this process that a call takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_encoding(report: Report, texts: list[str]) -> np.ndarray:
    """Encode texts with the model of the service and with torch. Return the vectors of the service."""
    model = load_model()
    references = {f"torch_{precision}": load_reference(precision) for precision in REFERENCES}
    vectors, exact = model.encode(texts), references[f"torch_{Precision.FLOAT32}"].encode(texts)
    cosines = (vectors * exact).sum(axis=1)
    report.note("encoding_mean_cosine_to_float32", float(cosines.mean()))
    report.note("encoding_lowest_cosine_to_float32", float(cosines.min()))
    for name, seconds in _time_alternately({"encoding": model, **references}, texts).items():
        report.note(f"{name}_chunks_per_cpu_second", len(texts) / seconds)
    report.state("model", f"{model.name}, {model.engine}, {model.precision}")
    lengths = [len(tokens) for tokens in model.tokenize(texts)]
    report.note("encoding_tokens_per_chunk", sum(lengths) / len(texts))
    _measure_gpu(report, texts)
    operations = compute_operations(lengths) / len(texts)
    report.note("matrix_limit_chunks_per_cpu_second", measure_matrix_peak(model.precision) / operations)
    return vectors


def _measure_gpu(report: Report, texts: list[str]) -> None:
    """Encode texts on the GPU, if there is one."""
    if model := load_on_gpu():
        model.encode(texts)
        started = time.perf_counter()
        model.encode(texts)
        report.note("gpu_chunks_per_second", len(texts) / (time.perf_counter() - started))
        report.state("gpu", f"{model.device}, {model.precision}")


def _time_alternately(models: Mapping[str, EmbeddingModel], texts: list[str]) -> dict[str, float]:
    """Return the median processor seconds of each model. They take turns, because neighbours slow the machine down."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(TURNS):
        for name, model in models.items():
            seconds[name].append(time_cpu(partial(model.encode, texts)))
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.encoding", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="PDF files")
    pages = [page for file in parser.parse_args().files for page in extract(file)]
    sample = choose_sample([passage for page in pages for passage in split_page(page)])
    report = Report(read_machine())
    measure_encoding(report, [passage.text for passage in sample])
    compute_ratios(report)
    report.print()


if __name__ == "__main__":
    main()
