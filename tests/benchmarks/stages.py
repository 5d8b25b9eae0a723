"""Part a: each stage alone, in one process with one thread, in processor seconds."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from sentence_transformers import SentenceTransformer
from sqlalchemy import text

from pipeline.db import chunks
from pipeline.db.session import Database
from pipeline.embedding.model import PACKAGED_MODEL, EmbeddingModel, Precision
from pipeline.stages.chunk import split_page
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from pipeline.types import PageText, Subject, SubjectKind, TextChunk, new_id
from tests.benchmarks.report import Report
from tests.databases import fetch

PDF = "application/pdf"
CHUNKS = 256
"""So many, evenly spread over the corpus, are encoded and stored."""
DOCUMENT_CHUNKS = 256
GFLOP_A_CHUNK = 5.6
MATRIX_SIZE = (2048, 384, 1536)


def measure_stages(report: Report, files: list[Path], database_url: str) -> None:
    """Fill in the processor seconds that a page and a chunk cost."""
    pages: list[PageText] = []

    def extract(reader: int) -> Callable[[], None]:
        def run() -> None:
            pages.clear()
            for path in files:
                with path.open("rb") as file:
                    extracted = get_format(PDF).readers[reader](SourceFile(file)).pages
                    pages.extend(PageText(number, 0, page.sections) for number, page in enumerate(extracted, start=1))

        return run

    passages: list[TextChunk] = []
    report.note("extract_pypdf_cpu_seconds_a_page", time_cpu(extract(1)) / len(pages))
    extracting = time_cpu(extract(0)) / len(pages)
    report.note("extract_cpu_seconds_a_page", extracting)
    chunking = time_cpu(lambda: passages.extend(passage for page in pages for passage in split_page(page))) / len(pages)
    report.note("chunk_cpu_seconds_a_page", chunking)
    report.note("chunks_a_page", len(passages) / len(pages))
    sample = passages[:: max(1, len(passages) // CHUNKS)]
    vectors, encoding = measure_encoding(report, [passage.text for passage in sample])
    storing = asyncio.run(measure_storing(sample, vectors, database_url))
    report.note("store_cpu_seconds_a_chunk", storing)
    stages = extracting + chunking + (encoding + storing) * len(passages) / len(pages)
    report.note("stages_cpu_seconds_a_page", stages)
    report.note("pages", len(pages))


def time_cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_encoding(report: Report, texts: list[str]) -> tuple[np.ndarray, float]:
    """Vectors, and processor seconds of a chunk; noted beside the other precision, and sentence-transformers as it comes."""
    ours, exact = EmbeddingModel(PACKAGED_MODEL), EmbeddingModel(PACKAGED_MODEL, Precision.FLOAT32)
    default: SentenceTransformer = exact._model
    vectors, reference = ours.encode(texts), exact.encode(texts)
    report.note("encode_lowest_cosine_to_float32", float((vectors * reference).sum(axis=1).min()))
    rates = {
        "encode_chunks_a_cpu_second": lambda: ours.encode(texts),
        "encode_float32_chunks_a_cpu_second": lambda: exact.encode(texts),
        "encode_default_chunks_a_cpu_second": lambda: default.encode(texts, show_progress_bar=False),
    }
    seconds = {name: time_cpu(work) / len(texts) for name, work in rates.items()}
    for name, cost in seconds.items():
        report.note(name, 1 / cost)
    report.note("precision", ours.precision)
    tokens = sum(len(ids) for ids in ours.tokenize(texts)) / len(texts)
    report.note("encode_tokens_a_chunk", tokens)
    report.note(
        "matrix_limit_chunks_a_cpu_second", measure_matrix_limit(ours.precision) / GFLOP_A_CHUNK / (tokens / 256)
    )
    return vectors, seconds["encode_chunks_a_cpu_second"]


def measure_matrix_limit(precision: Precision) -> float:
    """GFLOP/s of the largest matrix product of the model, alone."""
    import torch

    rows, inner, columns = MATRIX_SIZE
    layer = torch.nn.Linear(inner, columns).to(getattr(torch, precision))
    batch = torch.randn(rows, inner, dtype=getattr(torch, precision))
    with torch.inference_mode():
        layer(batch)
        seconds = time_cpu(lambda: [layer(batch) for _ in range(200)]) / 200
    return 2 * rows * inner * columns / seconds / 1e9


async def measure_storing(passages: list[TextChunk], vectors: np.ndarray, database_url: str) -> float:
    """Processor seconds of a chunk, of this process and of PostgreSQL's, indexes included."""
    owner_id = new_id()
    await fetch(
        database_url, f"INSERT INTO users (id, email, password_hash) VALUES ('{owner_id}', '{owner_id}@bench', '')"
    )
    database = Database(database_url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=60)
    seconds = 0.0
    for first in range(0, len(passages), DOCUMENT_CHUNKS):
        subject = Subject(owner_id, SubjectKind.DOCUMENT, new_id())
        async with database.transaction(owner_id) as session:
            await session.execute(
                text("INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256)"
                     " VALUES (:owner, :id, '', '', 0, :hash)"),
                {"owner": owner_id, "id": subject.id, "hash": subject.id.bytes},
            )  # fmt: skip
            backend = psutil.Process(await session.scalar(text("SELECT pg_backend_pid()")))
            part = slice(first, first + DOCUMENT_CHUNKS)
            before, started = backend.cpu_times(), time.process_time()
            await chunks.replace(
                session,
                subject,
                passages[part],
                [passage.text for passage in passages[part]],
                {PACKAGED_MODEL: list(vectors[part])},
                configuration="english",
            )
            after = backend.cpu_times()
            seconds += time.process_time() - started + after.user + after.system - before.user - before.system
    await database.close()
    return seconds / len(passages)
