"""Ingestion over HTTP, by the service and by the baseline."""

import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from tests.benchmarks.client import Client
from tests.benchmarks.processes import MIB, Service, Usage, measure
from tests.benchmarks.report import Report

BASELINE_UPLOADS_AT_ONCE = 4
NOTES = 30
NOTES_BESIDE_LONG_DOCUMENT = 5
POLL_SECONDS = 0.01


def ingest(report: Report, service: Service, client: Client, files: Sequence[Path], name: str) -> None:
    """Upload all files at once and wait until the last is ready."""
    with measure(service) as usage, ThreadPoolExecutor(len(files)) as threads:
        documents = list(threads.map(lambda file: client.wait(client.upload(file)), files))
    _note_ingestion(report, usage, sum(document["pages"] for document in documents), name)
    report.note(f"{name}_chunks", sum(document["chunks"] for document in documents))


def ingest_into_baseline(report: Report, baseline: Service, files: Sequence[Path], name: str) -> None:
    """Upload the files to the baseline. It answers when it has ingested a file."""

    def upload(file: Path) -> int:
        with httpx2.Client(timeout=3600) as client:
            answer = client.post(f"{baseline.url}/documents", files={"file": (file.name, file.read_bytes())})
        return int(answer.raise_for_status().json()["pages"])

    with measure(baseline) as usage, ThreadPoolExecutor(BASELINE_UPLOADS_AT_ONCE) as threads:
        pages = sum(threads.map(upload, files))
    _note_ingestion(report, usage, pages, name)


def _note_ingestion(report: Report, usage: Usage, pages: int, name: str) -> None:
    report.note(f"{name}_pages", pages)
    report.note(f"{name}_pages_per_second", pages / usage.seconds)
    report.note(f"{name}_core_ms_per_page", 1000 * usage.seconds * (os.cpu_count() or 1) / pages)
    report.note(f"{name}_cpu_ms_per_page", 1000 * usage.own_cpu_seconds / pages)
    for kind, seconds in usage.cpu_seconds.items():
        report.note(f"{name}_cpu_ms_per_page_{kind}", 1000 * seconds / pages)
    for kind, memory in usage.peak_memory.items():
        report.note(f"{name}_memory_mib_{kind}", memory.proportional / MIB)
        report.note(f"{name}_private_memory_mib_{kind}", memory.private / MIB)


def time_notes(report: Report, client: Client, count: int, name: str) -> None:
    """Write notes, one after another, and time each from its 201 until it is ready."""
    seconds = []
    for number in range(count):
        path = client.write_note(f"Note {number}")
        started = time.perf_counter()
        client.wait(path)
        seconds.append(time.perf_counter() - started)
    report.note(f"{name}_p50_ms", 1000 * statistics.median(seconds))
    report.note(f"{name}_worst_ms", 1000 * max(seconds))


def time_notes_beside_document(report: Report, client: Client, file: Path, name: str) -> None:
    """Time notes while a long document is being ingested."""
    path = client.upload(file)
    while client.get(path)["status"] == "pending":
        time.sleep(POLL_SECONDS)
    time_notes(report, client, NOTES_BESIDE_LONG_DOCUMENT, name)
    report.state("long_document_after_the_notes", client.get(path)["status"])
    client.wait(path)
