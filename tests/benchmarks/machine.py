"""The machine on which figures are measured."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

INSTRUCTION_SETS = {
    "amx_int8": "AMX",
    "avx512_bf16": "AVX512-BF16",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx2": "AVX2",
}
"""Names by the flag of Linux, the fastest first. They decide how fast a model encodes."""
LIMIT = "ONEDNN_MAX_CPU_ISA"
CPU_INFORMATION = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """What the figures of a run depend on."""

    processor: str
    instruction_sets: list[str]
    cores: int
    """Cores that this process may use."""
    limit: str = ""
    """The most advanced instructions that oneDNN may use. Empty if it may use all. It simulates other processors."""

    def __str__(self) -> str:
        sets = ", ".join(self.instruction_sets) or "unknown instruction sets"
        limit = f", limited by {LIMIT}={self.limit}" if self.limit else ""
        return f"{self.processor} ({sets}{limit}), {self.cores} cores"


def read_machine() -> Machine:
    """Describe this machine. Only Linux tells the instruction sets."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not CPU_INFORMATION.exists():
        return Machine(platform.processor() or platform.machine(), [], cores)
    return parse_cpu_information(CPU_INFORMATION.read_text(), cores, os.environ.get(LIMIT, ""))


def parse_cpu_information(text: str, cores: int, limit: str = "") -> Machine:
    """Describe a machine with this /proc/cpuinfo."""
    fields = dict(line.partition(":")[::2] for line in text.split("\n\n", maxsplit=1)[0].splitlines())
    known = {name.strip(): value.strip() for name, value in fields.items()}
    flags = known.get("flags", "").split()
    sets = [name for flag, name in INSTRUCTION_SETS.items() if flag in flags]
    return Machine(known.get("model name", platform.machine()), sets, cores, limit)
