"""How long processes take to start: the API and a worker until they are ready, and the demo as a whole."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.processes import Service, read_cpu
from tests.benchmarks.report import Report
from tests.benchmarks.stack import MODEL_LOADED, SETTINGS, Servers
from tests.databases import migrate
from tests.processes import PROJECT, find_port
from tests.service import SECRET, wait_until_answering
from tests.waiting import wait_until

START_SECONDS = 120


def measure_starts(report: Report, servers: Servers, database_url: str) -> None:
    """Start the API and a worker, each alone, first without and then with a cached model."""
    migrate(database_url, "head")
    for module, name in (("api", "api"), ("workers", "worker")):
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
            environment = {**os.environ, **SETTINGS, **servers.make_environment(database_url), "JWT_SECRET": SECRET}
            environment["MODEL_CACHE"] = f"{folder}/models"
            for start in ("first_start", "start"):
                seconds, cpu_seconds = time_start(module, environment, Path(folder) / "log.jsonl")
                report.note(f"{name}_{start}_seconds", seconds)
                report.note(f"{name}_{start}_cpu_seconds", cpu_seconds)


def time_start(module: str, environment: dict[str, str], log: Path) -> tuple[float, float]:
    """Return the seconds from the start of a process until it is ready, and the processor seconds."""
    log.write_text("")
    port = find_port()
    started = time.monotonic()
    with _run(module, environment | {"PORT": str(port)}, log) as process_id:
        if module == "api":
            wait_until_answering(f"http://127.0.0.1:{port}")
        else:
            wait_until(lambda: MODEL_LOADED in log.read_text(), START_SECONDS, "the worker has loaded the model")
        return time.monotonic() - started, sum(read_cpu(Service("", process_id)).values())


@contextmanager
def _run(module: str, environment: dict[str, str], log: Path) -> Iterator[int]:
    # Not `tests.processes`: its processes begin with everything imported.
    with log.open("ab") as file:
        command = [sys.executable, "-m", module]
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=file, stderr=file)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def measure_demo(report: Report) -> None:
    """Time the second of two runs of `make demo`."""
    command = [sys.executable, "-m", "pipeline", "demo"]
    for _ in range(2):
        started = time.monotonic()
        subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    report.note("demo_second_run_seconds", time.monotonic() - started)
