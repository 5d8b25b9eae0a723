"""Writes docs/benchmarks.md from the files that the benchmarks have written.

`python -m tests.benchmarks.page` writes it again, for example after `make bench-retrieval`.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.machine import Machine
from tests.benchmarks.recall import Row
from tests.benchmarks.report import Report, format_figure, format_range, read_report
from tests.benchmarks.scores import PLAIN_MODE, Scores, SetScores, format_interval, read_scores
from tests.benchmarks.scoring import METRICS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
DASH = "–"
PROCESSES = {
    "api": "the API",
    "worker": "workers, encoding included",
    "sandbox": "child processes that read files",
    "root": "the process that starts them",
    "postgresql": "PostgreSQL",
    "valkey": "Valkey",
}
STAGES = ("extraction", "chunking", "encoding", "storage")

TEMPLATE = """\
# Benchmarks

`make bench` and the commands [below](#run-them-yourself) write this page. Figures depend on the processor, so compare
the ratios of one run. A cell shows the median of the rounds, with the least and the greatest value in brackets.

- [Speed](#speed) · [Where the time goes](#where-the-time-goes) · [Large collections](#large-collections)
- [Quality of retrieval](#quality-of-retrieval) · [Recall of the vector index](#recall-of-the-vector-index)
- [Run them yourself](#run-them-yourself)

## Speed

{speed_origin}

The baseline is what people often write themselves: LangChain with the same model and the same PostgreSQL. It ingests
the same files as Sluice, and answers the same questions. One PostgreSQL serves both, one after the other.

{speed}

"Encoding and bare SQL" means the time for the vector of a question and for its nearest vectors in PostgreSQL, without
HTTP, login or words. The limit of the processor is its fastest matrix product in the precision of the engine. Memory
that several processes share counts for each of them in part. A first start finds no cached model.

## Where the time goes

CPU time per page in milliseconds. Each stage was also measured alone, in one process with one thread.

{pages}

CPU time per search in milliseconds, with 32 clients:

{searches}

## Large collections

One `hybrid` search in PostgreSQL, without HTTP and encoding. The texts and vectors are artificial. Each owner was
searched alone, and again when the database also held the chunks of the others. `make bench` writes the plans of these
searches, EXPLAIN (ANALYZE, BUFFERS), to `.bench/`.

{growth}

## Quality of retrieval

{quality_origin}

A cell shows hit@5 and nDCG@10. The interval is that of the difference in hit@5 between `hybrid` and `vector`, from a
paired bootstrap over the questions.

{quality}

## Recall of the vector index

{recall_origin}

Recall@10 is the share of the ten nearest passages that a search finds. The database also holds the passages of other
users. Times are p50 and p95 in PostgreSQL.

{recall}

## Run them yourself

| command | measures |
|---|---|
| `make bench` | speed |
| `make bench OPTIONS="FOLDER --rounds 1 --sizes 1000"` | speed with your own PDF files, quickly; `--page FILE` writes another page |
| `make bench-retrieval` | quality of retrieval; see [search-and-answers.md](search-and-answers.md#measuring-retrieval) |
| `make bench-retrieval OPTIONS="--compare BEFORE AFTER"` | two files of scores: what has changed |
| `python -m tests.benchmarks.recall FILE` | recall of the vector index; `FILE` has one text per line |
| `python -m tests.benchmarks.encoding FILE…` | the model alone on PDF files, and on a GPU if there is one |
| `python -m tests.benchmarks.page` | nothing; it writes this page from the files in `.bench/` |
| `make chaos SECONDS=180 SEED=7` | whether anything is lost under faults: it kills, stops and disconnects all parts |
"""


def write(page: Path, results: Path) -> None:
    """Write the page from the files in a folder. A section without a file says what makes it."""
    report, scores, recall = results / "report.json", results / "retrieval.json", results / "recall.json"
    page.write_text(
        TEMPLATE.format(
            **_fill_speed(read_report(report) if report.exists() else None),
            **_fill_quality(read_scores(scores) if scores.exists() else None),
            **_fill_recall(json.loads(recall.read_text()) if recall.exists() else None),
        )
    )


def _fill_speed(report: Report | None) -> dict[str, str]:
    if report is None:
        return {
            "speed_origin": _say_not_measured("make bench"),
            **dict.fromkeys(("speed", "pages", "searches", "growth"), DASH),
        }
    return {
        "speed_origin": _describe_origin(report.machine, report.facts.get("model", "")),
        "speed": _make_speed_table(report),
        "pages": _make_pages_table(report),
        "searches": _make_searches_table(report),
        "growth": _make_growth_table(report),
    }


def _make_speed_table(report: Report) -> str:
    rows = (
        ("pages that were ingested", "baseline_pages", "part_pages"),
        ("ingestion, pages per second", "baseline_pages_per_second", "part_pages_per_second"),
        ("ingestion, CPU ms per page, without PostgreSQL", "baseline_cpu_ms_per_page", "part_cpu_ms_per_page"),
        ("ingestion, Sluice against the baseline", None, "ingestion_over_baseline"),
        ("the same in CPU time", None, "ingestion_cpu_of_baseline"),
        ("ingestion, wall time against (the stages alone ÷ cores)", None, "ingestion_wall_over_stages"),
        ("ingestion, two workers against one", None, "two_workers_over_one"),
        ("encoding, chunks per CPU second", None, "encoding_chunks_per_cpu_second"),
        ("encoding on the GPU, chunks per second", None, "gpu_chunks_per_second"),
        ("encoding against torch with bfloat16", None, "encoding_over_bfloat16"),
        ("encoding against torch with float32", None, "encoding_over_float32"),
        ("encoding against the limit of the processor", None, "encoding_share_of_limit"),
        ("a note, from its 201 to `ready`, p50, ms", None, "note_p50_ms"),
        ("the same while a long PDF is ingested, ms", None, "note_beside_document_p50_ms"),
        ("chunks that were searched", None, "part_chunks"),
        ("search, 1 client, p50, ms", "baseline_search_1_p50_ms", "search_1_p50_ms"),
        ("search, 1 client, against encoding and bare SQL", None, "search_over_floor"),
        ("search, 32 clients, CPU ms per request", "baseline_search_32_cpu_ms_per_request",
         "search_32_cpu_ms_per_request"),
        ("search, 32 clients, requests per second", "baseline_search_32_requests_per_second",
         "search_32_requests_per_second"),
        ("search, 32 clients, Sluice against the baseline", None, "search_over_baseline"),
        ("the same in CPU time", None, "search_cpu_of_baseline"),
        ("search, 32 clients, two API processes against one", None, "two_api_processes_over_one"),
        ("peak memory, MiB: the API, or the baseline", "baseline_memory_mib_root", "folder_memory_mib_api"),
        ("peak memory, MiB: a worker with its children", None, "folder_memory_mib_worker"),
        ("start until ready, s: the API", None, "api_start_seconds"),
        ("start until ready, s: a worker", None, "worker_start_seconds"),
        ("the same, CPU s: the API", None, "api_start_cpu_seconds"),
        ("the same, CPU s: a worker", None, "worker_start_cpu_seconds"),
        ("first start, s: the API", None, "api_first_start_seconds"),
        ("first start, s: a worker", None, "worker_first_start_seconds"),
        ("`make demo`, second run, s", None, "demo_second_run_seconds"),
    )  # fmt: skip
    cells = [(label, _show(report, baseline), _show(report, ours)) for label, baseline, ours in rows]
    return _make_table(("measurement", "baseline", "Sluice"), [row for row in cells if row[1:] != (DASH, DASH)])


def _make_pages_table(report: Report) -> str:
    stages = [(f"{stage} alone", _show(report, f"{stage}_cpu_ms_per_page")) for stage in STAGES]
    alone = [*stages, ("all stages alone", _show(report, "stages_cpu_ms_per_page"))]
    kinds = [(label, _show(report, f"part_cpu_ms_per_page_{kind}")) for kind, label in PROCESSES.items()]
    return _make_table(("where", "ms per page"), [*alone, *kinds])


def _make_searches_table(report: Report) -> str:
    kinds = [(label, _show(report, f"search_32_cpu_ms_per_request_{kind}")) for kind, label in PROCESSES.items()]
    return _make_table(("process", "ms per search"), kinds)


def _make_growth_table(report: Report) -> str:
    sizes = sorted(
        int(name.split("_")[1])
        for name in report.figures
        if name.startswith("growth_") and name.endswith("_chunks_p50_ms")
    )
    rows = [
        (
            f"{size:,}",
            _show(report, f"growth_{size}_chunks_p50_ms"),
            _show(report, f"growth_{size}_chunks_cpu_ms"),
            _show(report, f"growth_{size}_chunks_beside_others_p50_ms"),
        )
        for size in sizes
    ]
    return _make_table(
        ("chunks of the owner", "p50, ms", "CPU time of PostgreSQL, ms", "p50 beside all others, ms"), rows
    )


def _fill_quality(scores: Scores | None) -> dict[str, str]:
    if scores is None:
        return {"quality_origin": _say_not_measured("make bench-retrieval"), "quality": DASH}
    modes = list(scores.sets[0].scores)
    heading = ("set", "searched in", "questions", *(f"`{mode}`" for mode in modes), "95 % interval")
    return {
        "quality_origin": _describe_origin(scores.machine, scores.model),
        "quality": _make_table(heading, [_make_quality_row(one, modes) for one in scores.sets]),
    }


def _make_quality_row(one: SetScores, modes: Sequence[str]) -> Sequence[str]:
    measures = (METRICS["hit@5"], METRICS["nDCG@10"])
    cells = [", ".join(f"{np.mean(one.get_values(mode, measure)):.3f}" for measure in measures) for mode in modes]
    interval = format_interval(one.get_values(PLAIN_MODE, measures[0]), one.get_values("hybrid", measures[0]))
    return (one.name, one.scope, str(len(one.scores[PLAIN_MODE])), *cells, interval)


def _fill_recall(result: dict[str, Any] | None) -> dict[str, str]:
    if result is None:
        return {"recall_origin": _say_not_measured("python -m tests.benchmarks.recall FILE"), "recall": DASH}
    heading = (
        *("chunks of the user", "recall@10", "searches for 50 passages that found fewer"),
        *("`vector`, ms", "`vector`, always comparing every vector, ms", "`hybrid`, ms"),
    )
    origin = f"{_describe_origin(Machine(**result['machine']), '')} Other users had {result['others']:,} chunks."
    return {
        "recall_origin": origin,
        "recall": _make_table(heading, [_make_recall_row(Row(**row)) for row in result["rows"]]),
    }


def _make_recall_row(row: Row) -> Sequence[str]:
    times = [", ".join(map(format_figure, pair)) for pair in (row.vector_ms, row.exact_ms, row.hybrid_ms)]
    return (f"{row.chunks:,}", f"{row.recall:.3f}", str(row.incomplete), *times)


def _describe_origin(machine: Machine, model: str) -> str:
    encoded = f" Encoded with: {model}." if model else ""
    return f"Measured on: {machine}.{encoded}"


def _say_not_measured(command: str) -> str:
    return f"Not measured yet on this release. `{command}` measures it."


def _show(report: Report, name: str | None) -> str:
    values = report.figures.get(name) if name else None
    return format_range(values) if values else DASH


def _make_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.page", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path(".bench"), help="folder with the files of the benchmarks")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    options = parser.parse_args()
    write(options.page, options.results)


if __name__ == "__main__":
    main()
