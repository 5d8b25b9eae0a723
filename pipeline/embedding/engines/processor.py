"""Which number format is fastest on this processor."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from pipeline.embedding.model import Precision

CPU_INFO = Path("/proc/cpuinfo")

ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""oneDNN, which computes for OpenVINO and torch, uses no instructions above this limit."""
REFUSED_INSTRUCTIONS: Mapping[str, tuple[str, ...]] = {
    "SSE41": ("avx", "amx"),
    "AVX": ("avx2", "avx512", "avx_vnni", "amx"),
    "AVX2": ("avx512", "avx_vnni", "amx"),
    "AVX2_VNNI": ("avx512", "amx"),
    "AVX512_CORE": ("avx512_vnni", "avx512_bf16", "avx_vnni", "amx"),
    "AVX512_CORE_VNNI": ("avx512_bf16", "amx"),
    "AVX512_CORE_BF16": ("amx",),
}
"""The beginnings of the names of the instructions that each limit excludes."""


def read_instructions(file: Path = CPU_INFO, environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the names of the processor's instructions as Linux gives them. Empty on other systems."""
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    found = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    refused = REFUSED_INSTRUCTIONS.get(environment.get(ISA_LIMIT, "").upper(), ())
    return frozenset(name for name in found if not name.startswith(refused))


def choose_precision(instructions: Collection[str]) -> Precision:
    """Return the fastest number format for OpenVINO.

    AMX multiplies matrices in bfloat16 as fast as in int8, and bfloat16 is exact. Without AMX, int8 is two to three
    times as fast if the processor has VNNI. Without VNNI, int8 is slower than float32.
    """
    if "amx_bf16" in instructions:
        return Precision.BFLOAT16
    if {"avx512_vnni", "avx_vnni"} & set(instructions):
        return Precision.INT8
    return Precision.FLOAT32
