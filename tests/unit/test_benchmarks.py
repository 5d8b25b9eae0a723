"""What the benchmarks compute and write. They measure nothing here."""

from tests.benchmarks.machine import parse_cpu_information

CPU_INFORMATION = """\
processor\t: 0
model name\t: AMD EPYC 9R14
flags\t\t: fpu avx2 avx512_vnni avx512_bf16

processor\t: 1
model name\t: AMD EPYC 9R14
flags\t\t: fpu avx2 avx512_vnni avx512_bf16
"""


def test_machine_has_its_instruction_sets() -> None:
    machine = parse_cpu_information(CPU_INFORMATION, cores=2)
    assert str(machine) == "AMD EPYC 9R14 (AVX512-BF16, AVX512-VNNI, AVX2), 2 cores"
