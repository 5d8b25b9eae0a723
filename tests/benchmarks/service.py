"""Parts b and c: ingestion and search over HTTP, of the service and of the baseline."""

import asyncio
import http.client
import json
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import numpy as np

from pipeline.embedding.model import PACKAGED_MODEL, EmbeddingModel
from tests.benchmarks.measure import MIB, Service, measure
from tests.benchmarks.report import Report
from tests.benchmarks.times import Times, time_requests

UPLOADS_AT_ONCE = 4
POLL_SECONDS = 0.01
LONG_POLL = {"Prefer": "wait=30"}
CLIENTS = (1, 8, 32)
TOP_K = 10
TERMINAL = ("ready", "failed")


class Client:
    """Somebody with an account."""

    def __init__(self, service: Service, name: str) -> None:
        self.http = httpx2.Client(base_url=service.url, timeout=600)
        credentials = {"email": f"{name}@example.org", "password": "password of a benchmark"}
        self.user_id = UUID(self.http.post("/v1/auth/register", json=credentials).raise_for_status().json()["id"])
        token = self.http.post("/v1/auth/login", json=credentials).raise_for_status().json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def upload(self, name: str, content: bytes) -> str:
        document: dict[str, str] = self.http.post("/v1/documents", files={"file": (name, content)}).json()
        return document["id"]

    def wait(self, path: str) -> dict[str, Any]:
        """The document or note when it is terminal."""
        while True:
            subject: dict[str, Any] = self.http.get(path, headers=LONG_POLL).raise_for_status().json()
            if subject["status"] in TERMINAL:
                return subject
            time.sleep(POLL_SECONDS)


def ingest_folder(report: Report, service: Service, client: Client, files: Sequence[Path], name: str) -> None:
    """Upload everything at once and wait for the last."""

    def follow(file: Path) -> tuple[dict[str, Any], float]:
        document_id = client.upload(file.name, file.read_bytes())
        accepted = time.perf_counter()
        return client.wait(f"/v1/documents/{document_id}"), time.perf_counter() - accepted

    with measure(service) as usage, ThreadPoolExecutor(len(files)) as threads:
        followed = list(threads.map(follow, files))
    documents = [document for document, _ in followed]
    waits = [seconds for _, seconds in followed]
    assert {document["status"] for document in documents} == {"ready"}
    pages = sum(document["pages"] for document in documents)
    report.note(f"{name}_pages_a_second", pages / usage.seconds)
    report.note(f"{name}_chunks_a_second", sum(document["chunks"] for document in documents) / usage.seconds)
    report.note(f"{name}_seconds", usage.seconds)
    report.note(f"{name}_core_seconds_a_page", usage.seconds * (os.cpu_count() or 1) / pages)
    report.note(f"{name}_cpu_seconds_a_page", usage.cpu_seconds / pages)
    for program, size in usage.peak_bytes.items():
        report.note(f"{name}_peak_mib_{program}", size / MIB)
    report.note(f"{name}_ready_after_p50_seconds", statistics.median(waits))
    report.note(
        f"{name}_ready_after_p95_seconds", statistics.quantiles(waits, n=20)[-1] if len(waits) > 1 else waits[0]
    )


def ingest_small(report: Report, client: Client, rounds: int, name: str) -> None:
    """Time from 202 to `ready` of notes of one page, one after the other."""
    seconds = []
    for number in range(rounds):
        body = f"Note {number} of {time.time_ns()}. " + "The lock keeper opens the gate at seven in the morning. " * 25
        note = client.http.post("/v1/notes", json={"title": f"Note {number}", "body": body}).raise_for_status().json()
        started = time.perf_counter()
        client.wait(f"/v1/notes/{note['id']}")
        seconds.append(time.perf_counter() - started)
    report.note(f"{name}_p50_ms", 1000 * statistics.median(seconds))
    report.note(f"{name}_worst_ms", 1000 * max(seconds))


def ingest_small_beside_large(report: Report, client: Client, file: Path) -> None:
    """The same while a long document is in work."""
    document_id = client.upload(file.name, file.read_bytes() + b"\n% again")
    while client.http.get(f"/v1/documents/{document_id}").json()["status"] == "pending":
        time.sleep(POLL_SECONDS)
    ingest_small(report, client, 5, "note_beside_long_document_ready_after")
    still = client.http.get(f"/v1/documents/{document_id}").json()["status"]
    report.note("long_document_afterwards", still)
    client.wait(f"/v1/documents/{document_id}")


def baseline_ingest(report: Report, service: Service, files: Sequence[Path]) -> None:
    """The same files into the baseline."""

    def upload(file: Path) -> int:
        with httpx2.Client(timeout=3600) as client:
            answer = client.post(f"{service.url}/documents", files={"file": (file.name, file.read_bytes())})
        return int(answer.raise_for_status().json()["pages"])

    with measure(service) as usage, ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        pages = sum(threads.map(upload, files))
    report.note("baseline_pages_a_second", pages / usage.seconds)
    report.note("baseline_cpu_seconds_a_page", usage.cpu_seconds / pages)
    report.note("baseline_peak_mib", sum(usage.peak_bytes.values()) / MIB)


def search(
    report: Report, service: Service, path: str, headers: dict[str, str], questions: list[str], name: str
) -> None:
    """Questions, all different, from 1, 8 and 32 clients."""
    connections = local()
    address = service.url.removeprefix("http://")

    def ask(question: str) -> None:
        # Not httpx2: it costs the processor as much as the answer does.
        if not hasattr(connections, "http"):
            connections.http = http.client.HTTPConnection(address)
        body = json.dumps({"query": question})
        connections.http.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connections.http.getresponse()
        answer.read()
        assert answer.status == 200

    time_requests(ask, [f"Warm {number}?" for number in range(40)], max(CLIENTS))
    part = len(questions) // len(CLIENTS)
    for number, clients in enumerate(CLIENTS):
        times = time_requests(ask, questions[number * part : (number + 1) * part], clients)
        note_times(report, times, f"{name}_{clients}")


def note_times(report: Report, times: Times, name: str) -> None:
    report.note(f"{name}_p50_ms", 1000 * times.p50)
    report.note(f"{name}_p95_ms", 1000 * times.p95)
    report.note(f"{name}_requests_a_second", times.rate)


def measure_floor(
    report: Report, model: EmbeddingModel, database_url: str, owner_id: UUID, questions: list[str]
) -> None:
    """What cannot be saved: the model on one question, and the query alone on a warm connection."""
    encoded, asked = asyncio.run(_measure_floor(model, database_url, owner_id, questions))
    report.note("floor_encode_ms", 1000 * encoded.p50)
    report.note("floor_sql_ms", 1000 * asked.p50)
    report.note("floor_ms", 1000 * statistics.median(map(sum, zip(encoded.each, asked.each, strict=True))))


async def _measure_floor(model: EmbeddingModel, url: str, owner_id: UUID, questions: list[str]) -> tuple[Times, Times]:
    encoded, asked = Times(), Times()
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    try:
        query = await connection.prepare(
            f"SELECT id, text, embedding <=> $2::halfvec AS distance FROM chunks"
            f" WHERE owner_id = $1 AND model = '{PACKAGED_MODEL}' ORDER BY distance LIMIT {TOP_K}"
        )
        for question in questions:
            started = time.perf_counter()
            vector: np.ndarray = model.encode([question])[0]
            between = time.perf_counter()
            await query.fetch(owner_id, str(vector.tolist()))
            encoded.each.append(between - started)
            asked.each.append(time.perf_counter() - between)
    finally:
        await connection.close()
    return encoded, asked
