"""`make bench`: how fast documents are ingested and questions answered, on a stack of its own. Asserts nothing.

python -m tests.benchmarks [FOLDER]    FOLDER holds the files to ingest; by default the samples of the project
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from pipeline import samples
from tests.e2e.conftest import Up

QUESTIONS = 50
SUFFIXES = {".pdf", ".txt", ".md", ".html"}
MIB = 1024 * 1024


def measure_cpu(up: Up) -> float:
    """Processor seconds of the service so far, PostgreSQL excepted."""
    total = 0.0
    for process in [psutil.Process(up.process.pid), *psutil.Process(up.process.pid).children(recursive=True)]:
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def ingest(up: Up, headers: dict[str, str], files: list[Path]) -> None:
    started, cpu = time.perf_counter(), measure_cpu(up)
    documents = [up.upload(headers, file.name, file.read_bytes()).raise_for_status().json() for file in files]
    finished = [up.wait(headers, document["id"]) for document in documents]
    seconds, cpu = time.perf_counter() - started, measure_cpu(up) - cpu
    ready = [document for document in finished if document["status"] == "ready"]
    pages = sum(document["pages"] for document in ready)
    chunks = sum(document["chunks"] for document in ready)
    print(f"ingestion   {len(ready)}/{len(files)} ready, {pages} pages, {chunks} chunks in {seconds:.1f} s")
    print(f"            {pages / seconds:.1f} pages/s, {chunks / seconds:.1f} chunks/s, {cpu / pages:.3f} CPU s/page")


def ask(up: Up, headers: dict[str, str]) -> None:
    seconds = []
    with httpx.Client(base_url=up.url, headers=headers) as client:
        for number in range(QUESTIONS):
            started = time.perf_counter()
            client.post("/v1/search", json={"query": f"What is said about point {number}?"}).raise_for_status()
            seconds.append(time.perf_counter() - started)
    print(f"search      1 client, {QUESTIONS} questions: p50 {1000 * statistics.median(seconds):.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("folder", nargs="?", type=Path, default=samples.FOLDER)
    files = sorted(file for file in parser.parse_args().folder.iterdir() if file.suffix in SUFFIXES)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        unlimited = {"RATE_LIMIT_UPLOAD": "", "RATE_LIMIT_QUERY": ""}
        up = Up(Path(folder), JWT_TTL_MINUTES="600", LEASE_SECONDS="15", **unlimited)
        try:
            headers = up.login()
            ingest(up, headers, files)
            ask(up, headers)
            for name in ("-m api", "-m workers"):
                memory = sum(process.memory_info().rss for process in up.find_processes(name))
                print(f"memory      {name}: {memory / MIB:.0f} MiB at the end")
        finally:
            up.stop()


if __name__ == "__main__":
    main()
