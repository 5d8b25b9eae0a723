"""Each stage of ingestion alone, in one process with one thread. Times are processor times."""

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from sqlalchemy import text

from pipeline.db import chunks
from pipeline.db.session import Database
from pipeline.embedding.model import PACKAGED_MODEL, EmbeddingModel, Precision
from pipeline.stages.chunk import split_page
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from pipeline.types import PageText, Subject, SubjectKind, TextChunk, new_id
from tests.benchmarks.matrices import compute_operations, measure_matrix_peak
from tests.benchmarks.models import load_model, load_reference
from tests.benchmarks.report import Report
from tests.databases import fetch

PDF = "application/pdf"
ENCODING_TURNS = 3
REFERENCES = (Precision.BFLOAT16, Precision.FLOAT32)
SAMPLE_CHUNKS = 128
"""Chunks that are encoded and stored, taken evenly from all files."""


def measure_stages(report: Report, files: Sequence[Path], database_url: str) -> None:
    """Note the processor time that each stage needs for a page."""
    pages: list[PageText] = []
    passages: list[TextChunk] = []
    extraction = time_cpu(lambda: pages.extend(page for file in files for page in extract(file))) / len(pages)
    chunking = time_cpu(lambda: passages.extend(one for page in pages for one in split_page(page))) / len(pages)
    sample = passages[:: max(1, len(passages) // SAMPLE_CHUNKS)]
    vectors = measure_encoding(report, [passage.text for passage in sample])
    storage = asyncio.run(measure_storage(sample, vectors, database_url))
    chunks_per_page = len(passages) / len(pages)
    report.note("chunks_per_page", chunks_per_page)
    stages = {
        "extraction": 1000 * extraction,
        "chunking": 1000 * chunking,
        "encoding": 1000 * chunks_per_page / report.get_last("encoding_chunks_per_cpu_second"),
        "storage": 1000 * chunks_per_page * storage,
    }
    for name, cost in stages.items():
        report.note(f"{name}_cpu_ms_per_page", cost)
    report.note("stages_cpu_ms_per_page", sum(stages.values()))


def extract(file: Path) -> list[PageText]:
    """Return the pages of a PDF file."""
    with file.open("rb") as content:
        extracted = get_format(PDF).readers[0](SourceFile(content)).pages
        return [PageText(number, 0, page.sections) for number, page in enumerate(extracted, start=1)]


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
    for name, seconds in time_alternately({"encoding": model, **references}, texts).items():
        report.note(f"{name}_chunks_per_cpu_second", len(texts) / seconds)
    lengths = [len(tokens) for tokens in model.tokenize(texts)]
    report.note("encoding_tokens_per_chunk", sum(lengths) / len(texts))
    operations = compute_operations(lengths) / len(texts)
    report.note("matrix_limit_chunks_per_cpu_second", measure_matrix_peak(model.precision) / operations)
    return vectors


def time_alternately(models: Mapping[str, EmbeddingModel], texts: list[str]) -> dict[str, float]:
    """Return the median processor seconds of each model. They take turns, because neighbours slow the machine down."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ENCODING_TURNS):
        for name, model in models.items():
            seconds[name].append(time_cpu(partial(model.encode, texts)))
    return {name: statistics.median(values) for name, values in seconds.items()}


async def measure_storage(passages: Sequence[TextChunk], vectors: np.ndarray, database_url: str) -> float:
    """Store chunks as one document. Return the processor seconds per chunk, of this process and of PostgreSQL."""
    subject = Subject(new_id(), SubjectKind.DOCUMENT, new_id())
    await fetch(database_url, "INSERT INTO users (id, email, password_hash) VALUES ($1, $2, '')",
                subject.owner_id, f"{subject.owner_id}@bench")  # fmt: skip
    database = Database(database_url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=60)
    async with database.transaction(subject.owner_id) as session:
        await session.execute(
            text("INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256)"
                 " VALUES (:owner, :id, '', '', 0, :hash)"),
            {"owner": subject.owner_id, "id": subject.id, "hash": subject.id.bytes},
        )  # fmt: skip
        backend = psutil.Process(await session.scalar(text("SELECT pg_backend_pid()")))
        texts = [passage.text for passage in passages]
        before, started = backend.cpu_times(), time.process_time()
        await chunks.replace(
            session, subject, passages, texts, {PACKAGED_MODEL: list(vectors)}, configuration="english"
        )
        seconds, after = time.process_time() - started, backend.cpu_times()
    await database.close()
    return (seconds + after.user + after.system - before.user - before.system) / len(passages)
