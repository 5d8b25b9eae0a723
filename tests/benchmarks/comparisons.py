"""The ratios by which releases and machines can be compared, and the figures that are shown, with their goals."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.benchmarks.report import Report, format_range

DASH = "–"
HEADING = ("measurement", "baseline", "Sluice", "goal")


@dataclass(frozen=True)
class Ratio:
    """A figure that is computed from two others."""

    name: str
    dividend: str
    divisor: str


@dataclass(frozen=True)
class Measurement:
    """A figure of the service, its goal, and the figure of the baseline. Any of them may be missing."""

    meaning: str
    figure: str | None
    goal: str = ""
    baseline: str | None = None


RATIOS = (
    Ratio("encoding_over_bfloat16", "encoding_chunks_per_cpu_second", "torch_bfloat16_chunks_per_cpu_second"),
    Ratio("encoding_over_float32", "encoding_chunks_per_cpu_second", "torch_float32_chunks_per_cpu_second"),
    Ratio("encoding_share_of_limit", "encoding_chunks_per_cpu_second", "matrix_limit_chunks_per_cpu_second"),
    Ratio("ingestion_over_baseline", "part_pages_per_second", "baseline_pages_per_second"),
    Ratio("ingestion_cpu_of_baseline", "baseline_cpu_ms_per_page", "part_cpu_ms_per_page"),
    Ratio("ingestion_wall_over_stages", "part_core_ms_per_page", "stages_cpu_ms_per_page"),
    Ratio("two_workers_over_one", "workers_2_pages_per_second", "workers_1_pages_per_second"),
    Ratio("search_over_floor", "search_1_p50_ms", "floor_ms"),
    Ratio("search_over_baseline", "search_32_requests_per_second", "baseline_search_32_requests_per_second"),
    Ratio(
        "two_api_processes_over_one",
        "search_2_processes_32_requests_per_second",
        "search_32_requests_per_second",
    ),
    Ratio("search_cpu_of_baseline", "baseline_search_32_cpu_ms_per_request", "search_32_cpu_ms_per_request"),
)
MEASUREMENTS = (
    Measurement("pages that were ingested", "part_pages", baseline="baseline_pages"),
    Measurement("ingestion, pages per second", "part_pages_per_second", baseline="baseline_pages_per_second"),
    Measurement(
        "ingestion, CPU ms per page, without PostgreSQL",
        "part_cpu_ms_per_page",
        "≤ 65 with VNNI",
        baseline="baseline_cpu_ms_per_page",
    ),
    Measurement(
        "ingestion, times as fast as the baseline",
        "ingestion_over_baseline",
        "≥ 7 with AMX, 5 with VNNI, 2.5 with AVX2",
    ),
    Measurement("the same in CPU time", "ingestion_cpu_of_baseline"),
    Measurement("ingestion, time divided by the ideal time", "ingestion_wall_over_stages", "≤ 1.2"),
    Measurement("ingestion, two workers, times as fast as one", "two_workers_over_one", "≥ 1.6"),
    Measurement("encoding, chunks per CPU second", "encoding_chunks_per_cpu_second"),
    Measurement("encoding on the GPU, chunks per second", "gpu_chunks_per_second"),
    Measurement("encoding, times as fast as torch with bfloat16", "encoding_over_bfloat16", "≥ 1.9 with VNNI"),
    Measurement("encoding, times as fast as torch with float32", "encoding_over_float32", "≥ 3.8 with VNNI"),
    Measurement("encoding, share of the processor's limit", "encoding_share_of_limit"),
    Measurement("a new note is `ready` after, p50, ms", "note_p50_ms", "≤ 80"),
    Measurement("the same while a long PDF is ingested, ms", "note_beside_document_p50_ms", "≤ 1,000"),
    Measurement("chunks that were searched", "part_chunks"),
    Measurement("search, 1 client, p50, ms", "search_1_p50_ms", baseline="baseline_search_1_p50_ms"),
    Measurement("search, 1 client, time divided by the least time", "search_over_floor", "≤ 1.3"),
    Measurement(
        "search, 32 clients, CPU ms per request, with PostgreSQL",
        "search_32_cpu_ms_per_request",
        baseline="baseline_search_32_cpu_ms_per_request",
    ),
    Measurement(
        "search, 32 clients, requests per second",
        "search_32_requests_per_second",
        baseline="baseline_search_32_requests_per_second",
    ),
    Measurement("search, 32 clients, times as fast as the baseline", "search_over_baseline", "≥ 6"),
    Measurement("the same in CPU time", "search_cpu_of_baseline"),
    Measurement("search, 32 clients, two API processes, times as fast as one", "two_api_processes_over_one"),
    Measurement("search in PostgreSQL, 3,000 chunks, CPU ms", "growth_3000_chunks_cpu_ms", "≤ 3"),
    Measurement("search in PostgreSQL, 200,000 chunks, CPU ms", "growth_200000_chunks_cpu_ms", "≤ 6"),
    Measurement("search in PostgreSQL, p50 of the largest owner divided by the smallest", "search_growth", "≤ 3"),
    Measurement("peak memory, MiB: the API", "folder_memory_mib_api", "≤ 250"),
    Measurement("peak memory, MiB: a worker with its children", "folder_memory_mib_worker", "≤ 450"),
    Measurement("peak memory, MiB: the only process of the baseline", None, baseline="baseline_memory_mib_root"),
    Measurement("peak memory of the last pass divided by the first: the API", "memory_growth_api", "1"),
    Measurement("peak memory of the last pass divided by the first: a worker", "memory_growth_worker", "1"),
    Measurement("start until ready, s: the API", "api_start_seconds", "≤ 3"),
    Measurement("start until ready, s: a worker", "worker_start_seconds", "≤ 3"),
    Measurement("the same, CPU s: the API", "api_start_cpu_seconds"),
    Measurement("the same, CPU s: a worker", "worker_start_cpu_seconds"),
    Measurement("first start, s: the API", "api_first_start_seconds", "≤ 20"),
    Measurement("first start, s: a worker", "worker_first_start_seconds", "≤ 20"),
    Measurement("`make demo`, second run, s", "demo_second_run_seconds", "≤ 12"),
)
"""What a reader wants to know, in the order of the page."""


def compute_ratios(report: Report) -> None:
    """Add the ratios whose figures were measured."""
    for ratio in RATIOS:
        report.note_ratio(ratio.name, ratio.dividend, ratio.divisor)


def list_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Return meaning, baseline, service and goal of everything that was measured."""
    cells = [
        (one.meaning, show(report, one.baseline), show(report, one.figure), one.goal or DASH) for one in MEASUREMENTS
    ]
    return [row for row in cells if row[1:3] != (DASH, DASH)]


def show(report: Report, name: str | None) -> str:
    """Return the median and the range of a figure, or a dash if it was not measured."""
    values = report.figures.get(name) if name else None
    return format_range(values) if values else DASH


def print_rows(report: Report) -> None:
    """Print each figure beside its goal."""
    table = Table(*HEADING)
    for row in list_rows(report):
        table.add_row(*row)
    Console(width=130).print(table)
