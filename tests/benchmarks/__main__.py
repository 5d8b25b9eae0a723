"""`make bench`: how fast documents are ingested and questions answered, by the service and by a baseline.

It prints the median of each figure, and writes all values to `report.json`, plans of searches to `plans-SIZE.txt`, and
the page docs/benchmarks.md. Nothing is asserted, because figures depend on the machine. Compare ratios of one run.
"""

import argparse
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pypdf import PdfReader

from pipeline import samples
from tests.benchmarks import page
from tests.benchmarks.baseline import run_baseline
from tests.benchmarks.client import Client
from tests.benchmarks.comparisons import compute_ratios, print_rows
from tests.benchmarks.growth import choose_shared_buffers, measure_growth
from tests.benchmarks.ingestion import NOTES, ingest, ingest_into_baseline, time_notes, time_notes_beside_document
from tests.benchmarks.machine import read_machine
from tests.benchmarks.processes import Service
from tests.benchmarks.report import Report
from tests.benchmarks.searching import make_questions, measure_floor, search
from tests.benchmarks.stack import Servers, refuse_env_file, run_servers, run_service
from tests.benchmarks.stages import measure_stages
from tests.benchmarks.starting import measure_demo, measure_starts

SHARED = Path("../shared/data/finance/documents")
WORKERS = (1, 2)
WARM_UP_NOTES = 3


@dataclass(frozen=True)
class Files:
    """The PDF files to ingest, with their numbers of pages."""

    pages: dict[Path, int]

    def choose_typical(self, pages: int) -> list[Path]:
        """Return the files whose length is nearest to the median, with about this number of pages together."""
        by_length = sorted(self.pages, key=self.pages.__getitem__)
        median = self.pages[by_length[len(by_length) // 2]]
        return self._take(sorted(by_length, key=lambda file: abs(self.pages[file] - median)), pages)

    def choose_short(self, pages: int) -> list[Path]:
        """Return the shortest files, with about this number of pages together: many files, which workers can share."""
        return self._take(sorted(self.pages, key=self.pages.__getitem__), pages)

    def get_longest(self) -> Path:
        return max(self.pages, key=self.pages.__getitem__)

    def _take(self, files: list[Path], pages: int) -> list[Path]:
        chosen: list[Path] = []
        for file in files:
            if sum(self.pages[one] for one in chosen) < pages:
                chosen.append(file)
        return chosen


def read_files(folder: Path) -> Files:
    files = sorted(file for file in folder.iterdir() if file.suffix == ".pdf")
    return Files({file: len(PdfReader(file).pages) for file in files})


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    folder = SHARED if SHARED.is_dir() else samples.FOLDER
    parser.add_argument("folder", nargs="?", type=Path, default=folder, help="folder with PDF files to ingest")
    parser.add_argument("--rounds", type=int, default=3, help="number of times that everything is measured")
    parser.add_argument("--passes", type=int, default=1, help="number of times that a round ingests the folder")
    parser.add_argument(
        "--baseline",
        type=lambda path: Path(path).absolute(),
        help="Python of the baseline's virtual environment; without it the baseline is not measured",
    )
    parser.add_argument("--part-pages", type=int, default=1000, help="pages that the baseline ingests, about")
    parser.add_argument("--worker-pages", type=int, default=400, help="pages for the comparison of workers, about")
    parser.add_argument(
        "--sizes", type=parse_sizes, default=(3_000, 200_000, 1_000_000), help="chunks of the owners to search"
    )
    parser.add_argument(
        "--output", type=Path, default=Path(".bench"), help="folder for report.json and the plans of searches"
    )
    parser.add_argument("--page", type=Path, default=page.PAGE, help="the page to write")
    return parser.parse_args()


def parse_sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size)


def run_round(report: Report, number: int, options: argparse.Namespace, files: Files, servers: Servers) -> None:
    """Measure everything once. The service and the baseline use the same PostgreSQL, one after the other."""
    part = files.choose_typical(options.part_pages)
    questions = make_questions(number)
    database_url = servers.make_database(f"sluice_{number}")
    with run_service(servers, database_url, workers=os.cpu_count() or 1) as service:
        report.state("model", service.model)
        report.state("pages of the long document", str(max(files.pages.values())))
        measure_notes(report, service, files.get_longest())
        client = Client(service, "part")
        ingest(report, service, client, part, "part")
        measure_stages(report, part, database_url)
        measure_floor(report, database_url, client.user_id, questions)
        search(report, service, "/v1/search", client.headers, questions, "search")
        ingest_passes(report, service, options.passes, list(files.pages))
    with run_service(servers, database_url, workers=1, api_processes=2) as service:
        search(report, service, "/v1/search", client.headers, questions, "search_2_processes")
    if options.baseline:
        with run_baseline(options.baseline, servers, f"baseline_{number}") as baseline:
            ingest_into_baseline(report, baseline, part, "baseline")
            search(report, baseline, "/search", {}, questions, "baseline_search")
    compare_workers(report, number, servers, files.choose_short(options.worker_pages))
    measure_starts(report, servers, servers.make_database(f"starts_{number}"))
    measure_demo(report)


def measure_notes(report: Report, service: Service, long_document: Path) -> None:
    client = Client(service, "notes")
    time_notes(report, client, WARM_UP_NOTES, "warm_up")
    time_notes(report, client, NOTES, "note")
    time_notes_beside_document(report, client, long_document, "note_beside_document")


def ingest_passes(report: Report, service: Service, passes: int, files: list[Path]) -> None:
    """Ingest the folder several times, each time for another user, to see whether the memory grows."""
    for number in range(passes):
        ingest(report, service, Client(service, f"folder-{number}"), files, "folder")
    for kind in ("api", "worker"):
        peaks = report.figures[f"folder_memory_mib_{kind}"][-passes:]
        report.note(f"memory_growth_{kind}", peaks[-1] / peaks[0])


def compare_workers(report: Report, number: int, servers: Servers, files: list[Path]) -> None:
    """Ingest the same files with one worker and with several."""
    for workers in WORKERS:
        with run_service(servers, servers.make_database(f"workers_{number}_{workers}"), workers=workers) as service:
            client = Client(service, "workers")
            time_notes(report, client, WARM_UP_NOTES, "warm_up")
            ingest(report, service, client, files, f"workers_{workers}")


def measure(report: Report, options: argparse.Namespace) -> None:
    """Run all rounds, then the searches in large collections."""
    files = read_files(options.folder)
    with run_servers() as servers:
        for number in range(options.rounds):
            run_round(report, number, options, files, servers)
    if options.sizes:
        with run_servers(shared_buffers_mb=choose_shared_buffers(options.sizes)) as servers:
            measure_growth(report, servers, options.sizes, options.output)
        report.note_ratio(
            "search_growth", f"growth_{max(options.sizes)}_chunks_p50_ms", f"growth_{min(options.sizes)}_chunks_p50_ms"
        )


def main() -> None:
    options = parse_options()
    refuse_env_file()
    options.output.mkdir(exist_ok=True)
    report = Report(read_machine(), {"day": datetime.now(UTC).date().isoformat()})
    try:
        measure(report, options)
    finally:  # what was measured before a failure is printed, too
        compute_ratios(report)
        report.print()
        print_rows(report)
        report.write(options.output / "report.json")
    page.write(options.page, options.output)


if __name__ == "__main__":
    main()
