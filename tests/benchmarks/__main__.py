"""`make bench`: how fast documents are ingested and questions answered, beside what people write themselves.

Everything runs on servers of its own, side by side, and is printed as a table; JSON and a plot go to `--output`.
Nothing is asserted: these are figures of one machine at one time, and only their ratios travel.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import samples
from pipeline.embedding.model import PACKAGED_MODEL, EmbeddingModel
from pipeline.operations.local.place import open_place
from pipeline.operations.local.servers import run_postgres
from tests.benchmarks.baseline import run_baseline
from tests.benchmarks.growth import measure_growth
from tests.benchmarks.measure import Service
from tests.benchmarks.report import Report
from tests.benchmarks.service import (
    Client,
    baseline_ingest,
    ingest_folder,
    ingest_small,
    ingest_small_beside_large,
    measure_floor,
    search,
)
from tests.benchmarks.stages import measure_stages
from tests.databases import migrate, run_sql
from tests.e2e.conftest import Up
from tests.service import NO_LIMITS

SHARED = Path("../shared/data/finance/documents")
QUESTIONS = 600
WORKERS = (1, 2, 4)
WORKER_PAGES = 150
SUBJECTS = ("revenue", "operating income", "number of employees", "dividend", "risk of litigation", "long-term debt")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    default = SHARED if SHARED.is_dir() else samples.FOLDER
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="PDF files to ingest")
    parser.add_argument("--rounds", type=int, default=3, help="measure everything so often")
    parser.add_argument("--passes", type=int, default=1, help="ingest the folder so often in a round")
    parser.add_argument(
        "--baseline",
        type=lambda path: Path(path).absolute(),
        help="Python of the venv of the baseline; without it there is none",
    )
    parser.add_argument("--baseline-pages", type=int, default=400, help="about so many pages go into the baseline")
    parser.add_argument(
        "--sizes", type=parse_sizes, default=(1_000, 10_000, 100_000), help="chunks of owners to search"
    )
    parser.add_argument("--output", type=Path, default=Path(".bench"), help="folder for report.json and report.png")
    return parser.parse_args()


def parse_sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size)


def make_questions(number: int) -> list[str]:
    return [
        f"What was the {SUBJECTS[index % len(SUBJECTS)]} of segment {number}-{index} in {1990 + index % 33}?"
        for index in range(QUESTIONS)
    ]


def choose_short(files: list[Path], pages: int, pages_of: dict[Path, int]) -> list[Path]:
    """The shortest files, with at most so many pages together: several documents, so that workers can share them."""
    chosen: list[Path] = []
    for file in sorted(files, key=pages_of.__getitem__):
        if sum(pages_of[one] for one in (*chosen, file)) <= pages:
            chosen.append(file)
    return chosen


def choose_some(files: list[Path], pages: int, pages_of: dict[Path, int]) -> list[Path]:
    """Files of middling size with about so many pages together."""
    chosen: list[Path] = []
    middle = len(files) // 2
    for file in sorted(files, key=lambda file: abs(sorted(pages_of.values())[middle] - pages_of[file])):
        if sum(pages_of[one] for one in chosen) < pages:
            chosen.append(file)
    return chosen


def count_pages(file: Path) -> int:
    from pypdf import PdfReader

    return len(PdfReader(file).pages)


def run_round(report: Report, number: int, options: argparse.Namespace, files: list[Path], server_url: str) -> None:
    """One round: every part once, the service and the baseline one after the other on the same PostgreSQL."""
    pages_of = {file: count_pages(file) for file in files}
    some = choose_some(files, options.baseline_pages, pages_of)
    questions = make_questions(number)
    database_url = make_database(server_url, f"sluice_{number}")
    with run_service(database_url, workers=os.cpu_count() or 1) as service:
        client = Client(service, "warm")
        ingest_small(report, client, 3, "warm_up")
        ingest_small(report, client, 30, "note_ready_after")
        ingest_small_beside_large(report, client, max(files, key=lambda file: pages_of[file]))
        client = Client(service, "some")
        ingest_folder(report, service, client, some, "some")
        measure_stages(report, some, database_url)
        headers = {"Authorization": client.http.headers["Authorization"]}
        measure_floor(report, EmbeddingModel(PACKAGED_MODEL), database_url, client.user_id, questions[:100])
        search(report, service, "/v1/search", headers, questions, "search")  # in what the baseline has, too
        for number_of_pass in range(options.passes):
            ingest_folder(report, service, Client(service, f"all-{number_of_pass}"), files, "ingest")
    if options.baseline:
        baseline_url = make_database(server_url, f"baseline_{number}").replace("://", "+psycopg://", 1)
        with run_baseline(options.baseline, baseline_url) as baseline:
            baseline_ingest(report, baseline, some)
            search(report, baseline, "/search", {}, questions, "baseline_search")
    short = choose_short(files, WORKER_PAGES, pages_of)
    for workers in WORKERS:
        with run_service(make_database(server_url, f"workers_{number}_{workers}"), workers=workers) as service:
            client = Client(service, "few")
            ingest_small(report, client, 3, "warm_up")
            ingest_folder(report, service, client, short, f"workers_{workers}")


@contextmanager
def run_service(database_url: str, *, workers: int) -> Iterator[Service]:
    """`make up` without limits on requests, with so many workers."""
    unlimited = {**NO_LIMITS, "JWT_TTL_MINUTES": "600", "LEASE_SECONDS": "15"}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        up = Up(Path(folder), DATABASE_URL=database_url, WORKER_PROCESSES=str(workers), **unlimited)
        try:
            yield Service(up.url, up.process.pid)
        finally:
            up.stop()


def make_database(server_url: str, name: str) -> str:
    run_sql(server_url, f"CREATE DATABASE {name}")
    return server_url.replace("/postgres?", f"/{name}?")


def compare(report: Report) -> None:
    """Note the ratios that the README promises."""
    for name, above, below in (
        ("ingestion_over_baseline", "some_pages_a_second", "baseline_pages_a_second"),
        ("ingestion_wall_over_stages", "some_core_seconds_a_page", "stages_cpu_seconds_a_page"),
        ("encoding_over_default", "encode_chunks_a_cpu_second", "encode_default_chunks_a_cpu_second"),
        ("encoding_float32_over_default", "encode_float32_chunks_a_cpu_second", "encode_default_chunks_a_cpu_second"),
        ("encoding_share_of_matrix_limit", "encode_chunks_a_cpu_second", "matrix_limit_chunks_a_cpu_second"),
        ("two_workers_over_one", "workers_2_pages_a_second", "workers_1_pages_a_second"),
        ("four_workers_over_one", "workers_4_pages_a_second", "workers_1_pages_a_second"),
        ("search_1_over_floor", "search_1_p50_ms", "floor_ms"),
        ("search_32_over_baseline", "search_32_requests_a_second", "baseline_search_32_requests_a_second"),
    ):
        report.compute_ratio(name, above, below)


def main() -> None:
    options = parse()
    files = sorted(file for file in options.folder.iterdir() if file.suffix == ".pdf")
    options.output.mkdir(exist_ok=True)
    report = Report()
    try:
        run(report, options, files)
    finally:  # what was measured before a failure is worth something, too
        compare(report)
        report.print()
        report.write_json(options.output / "report.json")
        report.plot(options.output / "report.png")


def run(report: Report, options: argparse.Namespace, files: list[Path]) -> None:
    """All rounds, then the growth, on one PostgreSQL."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        open_place(Path(folder)) as place,
        run_postgres(place) as server,
    ):
        for number in range(options.rounds):
            run_round(report, number, options, files, server.url)
        if options.sizes:
            growth_url = make_database(server.url, "growth")
            migrate(growth_url, "head")
            measure_growth(report, growth_url, options.sizes)


if __name__ == "__main__":
    main()
