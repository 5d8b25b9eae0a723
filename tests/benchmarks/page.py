"""Writes docs/benchmarks.md from the files that the benchmarks have written.

`python -m tests.benchmarks.page` writes it again, for example after `make bench-retrieval`.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.types import SearchMode
from tests.benchmarks.comparisons import DASH, HEADING, list_rows, show
from tests.benchmarks.filtering import FilterRow
from tests.benchmarks.machine import Machine
from tests.benchmarks.recall import Row
from tests.benchmarks.report import Report, format_figure, read_report
from tests.benchmarks.scores import PLAIN_MODE, Scores, SetScores, format_interval, read_scores
from tests.benchmarks.scoring import METRICS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
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
- [Filtered searches](#filtered-searches) · [Run them yourself](#run-them-yourself)

## Speed

{speed_origin}

The baseline is what people often write themselves: LangChain with the same model and the same PostgreSQL. It ingests
the same files as Sluice, and answers the same questions. One PostgreSQL serves both, one after the other. Sluice runs
one API process and as many workers as the machine has cores.

{speed}

- The ideal time of ingestion is the CPU time of all stages, each run alone, divided by the number of cores.
- The least time of a search is the time to encode the question and to find its nearest vectors in PostgreSQL. It has no
  HTTP, login or words.
- The processor's limit is its fastest matrix product in the number format of the engine.
- Shared memory is divided among the processes that use it.
- A first start finds no cached model.
- A goal without a processor holds for all. VNNI means AVX512-VNNI.

## Where the time goes

CPU time per page in milliseconds. Each stage was also measured alone, in one process with one thread.

{pages}

CPU time per search in milliseconds, with 32 clients:

{searches}

## Large collections

Measured with the same run as the speed. One `hybrid` search in PostgreSQL, without HTTP and encoding. The texts and vectors are artificial. Each owner was
searched when it had just been added, and again when all owners were there. PostgreSQL has the `shared_buffers` that
[RUNBOOK.md](../RUNBOOK.md#start-stop-and-scale) recommends, and 300 searches have filled them. `make bench` writes the plans of these
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

## Filtered searches

{filters_origin}

A `filter` keeps a part of the owner's passages. Each document has ten, one a page. The texts and vectors are
artificial. A search is incomplete if it returns neither ten passages nor all that the filter keeps. Recall@10 is that
of `vector`, beside comparing every vector. Times are the p50 in PostgreSQL.

{filters}

## Run them yourself

| command | measures |
|---|---|
| `make bench` | speed |
| `make bench OPTIONS="FOLDER --rounds 1 --sizes 1000"` | speed with your own PDF files, quickly |
| `make bench-retrieval` | quality of retrieval; see [search-and-answers.md](search-and-answers.md#measuring-retrieval) |
| `make bench-retrieval OPTIONS="--compare BEFORE AFTER"` | two files of scores: what has changed |
| `python -m tests.benchmarks.recall FILE` | recall of the vector index; `FILE` has one text per line |
| `python -m tests.benchmarks.filtering` | searches with filters |
| `python -m tests.benchmarks.encoding FILE…` | the model alone on PDF files, and on a GPU if there is one |
| `make chaos SECONDS=180 SEED=7` | whether anything is lost under faults: it kills, stops and disconnects all parts |

The results are in `.bench/`. `make bench` writes this page again; `--page FILE` in `OPTIONS` writes another file instead.
`python -m tests.benchmarks.page` writes it from the results, for example after `make bench-retrieval`.
"""


def write(page: Path, results: Path) -> None:
    """Write the page from the files in a folder. A section without a file says what makes it."""
    report, scores, recall = results / "report.json", results / "retrieval.json", results / "recall.json"
    filters = results / "filters.json"
    page.write_text(
        TEMPLATE.format(
            **_fill_speed(read_report(report) if report.exists() else None),
            **_fill_quality(read_scores(scores) if scores.exists() else None),
            **_fill_recall(json.loads(recall.read_text()) if recall.exists() else None),
            **_fill_filters(json.loads(filters.read_text()) if filters.exists() else None),
        )
    )


def _fill_speed(report: Report | None) -> dict[str, str]:
    if report is None:
        return {
            "speed_origin": _say_not_measured("make bench"),
            **dict.fromkeys(("speed", "pages", "searches", "growth"), DASH),
        }
    return {
        "speed_origin": _describe_origin(report.machine, report.facts.get("model", ""), report.facts.get("day", "")),
        "speed": _make_table(HEADING, list_rows(report)),
        "pages": _make_pages_table(report),
        "searches": _make_searches_table(report),
        "growth": _make_growth_table(report),
    }


def _make_pages_table(report: Report) -> str:
    stages = [(f"{stage} alone", show(report, f"{stage}_cpu_ms_per_page")) for stage in STAGES]
    alone = [*stages, ("all stages alone", show(report, "stages_cpu_ms_per_page"))]
    kinds = [(label, show(report, f"part_cpu_ms_per_page_{kind}")) for kind, label in PROCESSES.items()]
    return _make_table(("where", "ms per page"), [*alone, *kinds])


def _make_searches_table(report: Report) -> str:
    kinds = [(label, show(report, f"search_32_cpu_ms_per_request_{kind}")) for kind, label in PROCESSES.items()]
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
            show(report, f"growth_{size}_chunks_p50_ms"),
            show(report, f"growth_{size}_chunks_cpu_ms"),
            show(report, f"growth_{size}_chunks_beside_others_p50_ms"),
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


def _fill_filters(result: dict[str, Any] | None) -> dict[str, str]:
    if result is None:
        return {"filters_origin": _say_not_measured("python -m tests.benchmarks.filtering"), "filters": DASH}
    heading = ("the filter keeps", "passages", "incomplete", "recall@10", *(f"`{mode}`, ms" for mode in SearchMode))
    origin = f"{_describe_origin(Machine(**result['machine']), '')} The owner had {result['chunks']:,} passages."
    return {
        "filters_origin": f"{origin} So had another owner.",
        "filters": _make_table(heading, [_make_filter_row(FilterRow(**row)) for row in result["rows"]]),
    }


def _make_filter_row(row: FilterRow) -> Sequence[str]:
    times = [format_figure(row.milliseconds[mode]) for mode in SearchMode]
    return (row.name, f"{row.kept:,}", str(row.incomplete), f"{row.recall:.3f}", *times)


def _describe_origin(machine: Machine, model: str, day: str = "") -> str:
    encoded = f" Encoded with: {model}." if model else ""
    measured = f" Day: {day}." if day else ""
    return f"Measured on: {machine}.{encoded}{measured}"


def _say_not_measured(command: str) -> str:
    return f"Not measured yet on this release. `{command}` measures it."


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
