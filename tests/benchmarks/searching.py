"""Search over HTTP, of the service and of the baseline, and the least that a search could cost."""

import asyncio
import http.client
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from threading import local
from uuid import UUID

import asyncpg
import numpy as np

from pipeline.db.models import Chunk, Vector
from pipeline.embedding.model import PACKAGED_MODEL
from tests.benchmarks.models import load_model
from tests.benchmarks.processes import Service, measure
from tests.benchmarks.report import Report
from tests.benchmarks.times import Times, time_requests

CLIENTS = (1, 8, 32)
"""Numbers of clients that ask at the same time."""
QUESTIONS = 600
WARM_UP_QUESTIONS = 40
FLOOR_QUESTIONS = 100
TOP_K = 10
SUBJECTS = ("revenue", "operating income", "number of employees", "dividend", "risk of litigation", "long-term debt")
NEAREST = f"""
SELECT id, text, distance FROM (
    SELECT owner_id, chunk_id, embedding <=> $2::halfvec AS distance FROM {Vector.__tablename__}
    WHERE owner_id = $1 AND model = '{PACKAGED_MODEL}' ORDER BY distance LIMIT {TOP_K}
) AS nearest JOIN {Chunk.__tablename__} USING (owner_id) WHERE id = chunk_id"""
"""The query of a vector search without anything else."""


def make_questions(number_of_round: int) -> list[str]:
    """Return questions of about 12 words, all different."""
    return [
        f"What was the {SUBJECTS[index % len(SUBJECTS)]} of segment {number_of_round}-{index} in {1990 + index % 33}?"
        for index in range(QUESTIONS)
    ]


def search(
    report: Report, service: Service, path: str, headers: Mapping[str, str], questions: Sequence[str], name: str
) -> None:
    """Ask different questions with 1, 8 and 32 clients."""
    ask = _make_asker(service, path, headers)
    time_requests(ask, [f"Warm {number}?" for number in range(WARM_UP_QUESTIONS)], max(CLIENTS))
    part = len(questions) // len(CLIENTS)
    for number, clients in enumerate(CLIENTS):
        with measure(service) as usage:
            times = time_requests(ask, questions[number * part : (number + 1) * part], clients)
        report.note(f"{name}_{clients}_p50_ms", 1000 * times.p50)
        report.note(f"{name}_{clients}_p95_ms", 1000 * times.p95)
        report.note(f"{name}_{clients}_requests_per_second", times.rate)
        report.note(f"{name}_{clients}_cpu_ms_per_request", 1000 * usage.all_cpu_seconds / part)
        for kind, seconds in usage.cpu_seconds.items():
            report.note(f"{name}_{clients}_cpu_ms_per_request_{kind}", 1000 * seconds / part)


def _make_asker(service: Service, path: str, headers: Mapping[str, str]) -> Callable[[str], None]:
    """Return a function that sends a query, on one connection per thread."""
    connections = local()
    address = service.url.removeprefix("http://")

    def ask(question: str) -> None:
        # Not httpx2: it would use as much processor time as the answer.
        if not hasattr(connections, "http"):
            connections.http = http.client.HTTPConnection(address)
        body = json.dumps({"query": question})
        connections.http.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connections.http.getresponse()
        answer.read()
        assert answer.status == 200

    return ask


def measure_floor(report: Report, database_url: str, owner_id: UUID, questions: Sequence[str]) -> None:
    """Time the model on one question, and the bare vector query on an open connection."""
    encoding, querying = asyncio.run(_measure_floor(database_url, owner_id, questions[:FLOOR_QUESTIONS]))
    report.note("floor_encoding_ms", 1000 * encoding.p50)
    report.note("floor_sql_ms", 1000 * querying.p50)
    report.note("floor_ms", 1000 * statistics.median(map(sum, zip(encoding.each, querying.each, strict=True))))


async def _measure_floor(url: str, owner_id: UUID, questions: Sequence[str]) -> tuple[Times, Times]:
    model = load_model()
    encoding, querying = Times(), Times()
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    try:
        query = await connection.prepare(NEAREST)
        for question in questions:
            started = time.perf_counter()
            vector: np.ndarray = model.encode([question])[0]
            encoded = time.perf_counter()
            await query.fetch(owner_id, str(vector.tolist()))
            encoding.each.append(encoded - started)
            querying.each.append(time.perf_counter() - encoded)
    finally:
        await connection.close()
    return encoding, querying
