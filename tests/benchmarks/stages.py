"""Each stage of ingestion alone, in one process with one thread. Times are processor times."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from sqlalchemy import text

from pipeline.db import chunks
from pipeline.db.session import Database
from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.stages.chunk import split_page
from pipeline.stages.words.lexemes import index_all
from pipeline.types import Caller, PageText, Subject, SubjectKind, TextChunk, new_id
from tests.benchmarks.encoding import choose_sample, extract, measure_encoding, time_cpu
from tests.benchmarks.report import Report
from tests.databases import fetch


def measure_stages(report: Report, files: Sequence[Path], database_url: str) -> None:
    """Note the processor time that each stage needs for a page."""
    pages: list[PageText] = []
    passages: list[TextChunk] = []
    extraction = time_cpu(lambda: pages.extend(page for file in files for page in extract(file))) / len(pages)
    chunking = time_cpu(lambda: passages.extend(one for page in pages for one in split_page(page))) / len(pages)
    sample = choose_sample(passages)
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


async def measure_storage(passages: Sequence[TextChunk], vectors: np.ndarray, database_url: str) -> float:
    """Store chunks as one document. Return the processor seconds per chunk, of this process and of PostgreSQL."""
    subject = Subject(new_id(), SubjectKind.DOCUMENT, new_id())
    await fetch(database_url, "INSERT INTO users (id, email, password_hash) VALUES ($1, $2, '')",
                subject.owner_id, f"{subject.owner_id}@bench")  # fmt: skip
    database = Database(database_url.replace("://", "+asyncpg://", 1), pool_size=1, timeout_seconds=60)
    async with database.transaction(Caller(subject.owner_id)) as session:
        await session.execute(
            text("INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256)"
                 " VALUES (:owner, :id, '', '', 0, :hash)"),
            {"owner": subject.owner_id, "id": subject.id, "hash": subject.id.bytes},
        )  # fmt: skip
        backend = psutil.Process(await session.scalar(text("SELECT pg_backend_pid()")))
        texts = [passage.text for passage in passages]
        before, started = backend.cpu_times(), time.process_time()
        await chunks.replace(
            session,
            subject,
            passages,
            texts,
            {PACKAGED_MODEL: list(vectors[:, np.newaxis])},
            index_all(texts, "english"),
        )
        seconds, after = time.process_time() - started, backend.cpu_times()
    await database.close()
    return (seconds + after.user + after.system - before.user - before.system) / len(passages)
