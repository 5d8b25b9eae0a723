"""The ratios by which releases and machines can be compared, and the goals for them and for other figures."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.benchmarks.report import Report, format_range


@dataclass(frozen=True)
class Ratio:
    """A figure that is computed from two others."""

    name: str
    dividend: str
    divisor: str


@dataclass(frozen=True)
class Goal:
    """A figure, what it means, and where it should be."""

    name: str
    meaning: str
    goal: str


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
GOALS = (
    Goal("encoding_over_bfloat16", "encoding, chunks per CPU second, against torch with bfloat16", "≥ 1.9 with VNNI"),
    Goal("encoding_over_float32", "encoding, chunks per CPU second, against torch with float32", "≥ 3.8 with VNNI"),
    Goal("encoding_share_of_limit", "encoding against the fastest matrix product of its precision", ""),
    Goal("folder_cpu_ms_per_page", "CPU time per page without PostgreSQL, ms", "≤ 65 with VNNI"),
    Goal("ingestion_over_baseline", "ingestion, pages per second, against the baseline", "≥ 5; AMX 7, AVX2 2.5"),
    Goal("ingestion_cpu_of_baseline", "ingestion, CPU time of the baseline against ours", ""),
    Goal("ingestion_wall_over_stages", "ingestion, wall time against (the stages alone ÷ cores)", "≤ 1.2"),
    Goal("two_workers_over_one", "ingestion, two workers against one", "≥ 1.6"),
    Goal("search_over_floor", "search with 1 client, p50, against encoding and bare SQL", "≤ 1.3"),
    Goal("search_over_baseline", "search with 32 clients, requests per second, against the baseline", "≥ 6"),
    Goal("search_cpu_of_baseline", "search with 32 clients, CPU time of the baseline against ours", ""),
    Goal("two_api_processes_over_one", "search with 32 clients, two API processes against one", ""),
    Goal("growth_3000_chunks_cpu_ms", "one search in PostgreSQL, 3,000 chunks, CPU ms", "≤ 3"),
    Goal("growth_200000_chunks_cpu_ms", "one search in PostgreSQL, 200,000 chunks, CPU ms", "≤ 6"),
    Goal("search_growth", "one search in PostgreSQL, p50, largest owner against smallest", "≤ 3"),
    Goal("folder_memory_mib_api", "peak memory of the API, MiB", "≤ 250"),
    Goal("folder_memory_mib_worker", "peak memory of a worker with its children, MiB", "≤ 450"),
    Goal("memory_growth_api", "peak memory of the API, last pass against first", "1"),
    Goal("memory_growth_worker", "peak memory of a worker, last pass against first", "1"),
    Goal("api_start_seconds", "start of the API until ready, s", "≤ 3"),
    Goal("worker_start_seconds", "start of a worker until ready, s", "≤ 3"),
    Goal("api_first_start_seconds", "first start of the API until ready, s", "≤ 20"),
    Goal("worker_first_start_seconds", "first start of a worker until ready, s", "≤ 20"),
    Goal("demo_second_run_seconds", "`make demo`, second run, s", "≤ 12"),
    Goal("note_p50_ms", "a note, from its 201 to `ready`, p50, ms", "≤ 80"),
    Goal("note_beside_document_p50_ms", "the same while a long PDF is ingested, ms", "≤ 1,000"),
)


def compute_ratios(report: Report) -> None:
    """Add the ratios whose figures were measured."""
    for ratio in RATIOS:
        report.note_ratio(ratio.name, ratio.dividend, ratio.divisor)


def print_goals(report: Report) -> None:
    """Print each figure beside its goal."""
    table = Table("what", "median and range", "goal")
    for goal in GOALS:
        values = report.figures.get(goal.name)
        table.add_row(goal.meaning, format_range(values) if values else "not measured", goal.goal)
    Console(width=110).print(table)
