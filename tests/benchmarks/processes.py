"""Processor time and memory of the processes of a service, by kind of process."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import psutil

MIB = 1024 * 1024
SAMPLE_SECONDS = 1.0
"""A sample of a large process takes 10 ms of the processor that is measured."""


class Kind(StrEnum):
    """What a process does."""

    API = "api"
    WORKER = "worker"
    SANDBOX = "sandbox"
    """A child that reads files, and its fork server."""
    POSTGRESQL = "postgresql"
    VALKEY = "valkey"
    ROOT = "root"
    """The process that starts the others, or the only one."""


SERVERS = (Kind.POSTGRESQL, Kind.VALKEY)
MARKS = {"pipeline.sandbox": Kind.SANDBOX, "api": Kind.API, "workers": Kind.WORKER}
"""Arguments of a command line that tell the kind. Other processes are of the kind of their parent."""


@dataclass(frozen=True)
class Service:
    """Something that serves HTTP, with the processes that belong to it."""

    url: str
    process_id: int
    """The root of its process tree."""
    servers: Mapping[Kind, int] = field(default_factory=dict)
    """Process ids of the servers that it uses, which are not in its tree."""
    model: str = ""
    """The model that encodes, with its engine and precision."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one process or several."""

    proportional: int = 0
    """Memory of these processes alone, and their share of what they share with others."""
    private: int = 0
    """Memory of these processes alone."""

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.proportional + other.proportional, self.private + other.private)

    def __or__(self, other: "Memory") -> "Memory":
        """Return the larger of each."""
        return Memory(max(self.proportional, other.proportional), max(self.private, other.private))


@dataclass
class Usage:
    """What a service used during a measurement."""

    seconds: float = 0.0
    cpu_seconds: dict[Kind, float] = field(default_factory=dict)
    peak_memory: dict[Kind, Memory] = field(default_factory=dict)
    """Of the API, of one worker with its children, or of the root if it has no API."""

    @property
    def own_cpu_seconds(self) -> float:
        """Processor time without that of the servers."""
        return sum(seconds for kind, seconds in self.cpu_seconds.items() if kind not in SERVERS)

    @property
    def all_cpu_seconds(self) -> float:
        """Processor time with that of the servers."""
        return sum(self.cpu_seconds.values())


@contextmanager
def measure(service: Service) -> Iterator[Usage]:
    """Measure what the processes of a service use inside the `with` block."""
    usage = Usage()
    done = threading.Event()
    sampler = threading.Thread(target=_sample_memory, args=(service, usage, done))
    cpu, started = read_cpu(service), time.perf_counter()
    sampler.start()
    try:
        yield usage
    finally:
        usage.seconds = time.perf_counter() - started
        usage.cpu_seconds = {kind: seconds - cpu[kind] for kind, seconds in read_cpu(service).items()}
        done.set()
        sampler.join()


def read_cpu(service: Service) -> defaultdict[Kind, float]:
    """Return the processor seconds of each kind since its processes started, ended children included."""
    seconds: defaultdict[Kind, float] = defaultdict(float)
    roots = {service.process_id: Kind.ROOT, **{number: kind for kind, number in service.servers.items()}}
    for number, kind in roots.items():
        _add_cpu(psutil.Process(number), kind, seconds)
    return seconds


def _add_cpu(process: psutil.Process, kind: Kind, seconds: defaultdict[Kind, float]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        kind = _find_kind(process, kind)
        times = process.cpu_times()
        seconds[kind] += times.user + times.system
        # Children of the API and of workers that have ended were sandboxes.
        ended = Kind.SANDBOX if kind in {Kind.API, Kind.WORKER} else kind
        seconds[ended] += times.children_user + times.children_system
        for child in process.children():
            _add_cpu(child, kind, seconds)


def _find_kind(process: psutil.Process, kind_of_parent: Kind) -> Kind:
    if kind_of_parent in SERVERS:
        return kind_of_parent
    command = process.cmdline()
    return next((kind for mark, kind in MARKS.items() if mark in command), kind_of_parent)


def _sample_memory(service: Service, usage: Usage, done: threading.Event) -> None:
    root = psutil.Process(service.process_id)
    programs = {_find_kind(child, Kind.ROOT): child for child in root.children()}  # one worker of several
    programs = {kind: program for kind, program in programs.items() if kind is not Kind.ROOT} or {Kind.ROOT: root}
    is_done = False
    while not is_done:
        is_done = done.wait(SAMPLE_SECONDS)
        for kind, program in programs.items():
            used = sum(map(_read_memory, [program, *program.children(recursive=True)]), Memory())
            usage.peak_memory[kind] = usage.peak_memory.get(kind, Memory()) | used


def _read_memory(process: psutil.Process) -> Memory:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        found = process.memory_full_info()
        return Memory(getattr(found, "pss", found.uss), found.uss)
    return Memory()
