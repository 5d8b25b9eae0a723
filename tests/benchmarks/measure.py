"""Processor time and memory of process trees."""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

MIB = 1024 * 1024
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Service:
    """Something that serves HTTP, and the process at the root of its tree."""

    url: str
    process_id: int

    def find_processes(self) -> list[psutil.Process]:
        root = psutil.Process(self.process_id)
        return [root, *root.children(recursive=True)]


@dataclass
class Usage:
    """What a service used over a stretch of time."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: dict[str, int] = field(default_factory=dict)
    """Most memory of the API, of one worker with its children, and of the rest, without what processes share."""


@contextmanager
def measure(service: Service) -> Iterator[Usage]:
    """Measure what happens inside; PostgreSQL and Valkey are not in the tree."""
    usage = Usage()
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(service, usage, done))
    started, cpu = time.perf_counter(), _get_cpu(service)
    sampler.start()
    try:
        yield usage
    finally:
        usage.seconds, usage.cpu_seconds = time.perf_counter() - started, _get_cpu(service) - cpu
        done.set()
        sampler.join()


def _get_cpu(service: Service) -> float:
    total = 0.0
    for process in service.find_processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _sample(service: Service, usage: Usage, done: threading.Event) -> None:
    root = psutil.Process(service.process_id)
    programs = {_name(child): [child] for child in root.children()}  # of several workers one
    programs["supervisor" if programs else "server"] = [root]
    while not done.wait(SAMPLE_SECONDS):
        for name, processes in programs.items():
            children = [] if root in processes else processes[0].children(recursive=True)
            size = sum(map(_get_size, processes + children))
            usage.peak_bytes[name] = max(usage.peak_bytes.get(name, 0), size)


def _name(process: psutil.Process) -> str:
    command = process.cmdline()
    return next((part for part in ("api", "workers") if part in command), process.name())


def _get_size(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return int(process.memory_full_info().uss)
    return 0
