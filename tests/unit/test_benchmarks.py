"""What the benchmarks compute and write. They measure nothing here."""

import os
import time
from pathlib import Path

import pytest

from tests.benchmarks.answers import MARK, AnswerScore, is_heading, score_answer
from tests.benchmarks.calibration import calibrate
from tests.benchmarks.comparisons import compute_ratios
from tests.benchmarks.machine import Machine, parse_cpu_information
from tests.benchmarks.page import PAGE, write
from tests.benchmarks.processes import Kind, Service, read_cpu
from tests.benchmarks.report import Report, format_range
from tests.benchmarks.scores import Scores, SetScores, bootstrap, print_changes, read_scores
from tests.benchmarks.scoring import Question, Score, cut_into_grams
from tests.benchmarks.stack import refuse_env_file

MACHINE = Machine("Test", ["AVX2"], 2)

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
    simulated = parse_cpu_information(CPU_INFORMATION, cores=2, limit="AVX2")
    assert "AVX2, limited by ONEDNN_MAX_CPU_ISA=AVX2), 2 cores" in str(simulated)


def test_ratios_are_of_the_same_round() -> None:
    report = Report(MACHINE)
    for ours, theirs in ((10.0, 5.0), (30.0, 10.0), (20.0, 5.0)):
        report.note("part_pages_per_second", ours)
        report.note("baseline_pages_per_second", theirs)
    compute_ratios(report)
    assert report.figures["ingestion_over_baseline"] == [2.0, 3.0, 4.0]
    assert "two_workers_over_one" not in report.figures  # neither was measured


@pytest.mark.parametrize(
    ("values", "text"),
    [([2.0, 3.0, 4.5], "3 (2–4.50)"), ([0.0123456], "0.0123"), ([1234.5], "1,234"), ([1166], "1,166")],
)
def test_figures_are_written_with_their_range(values: list[float], text: str) -> None:
    assert format_range(values) == text


def test_cpu_of_a_single_process_is_that_of_the_root() -> None:
    seconds = read_cpu(Service("", os.getpid()))
    assert {Kind.API, Kind.WORKER, Kind.POSTGRESQL}.isdisjoint(seconds)
    assert seconds[Kind.ROOT] >= time.process_time() - 1


def test_page_is_written_from_the_results(tmp_path: Path) -> None:
    report = Report(MACHINE, {"model": "tiny, float32"}, {"part_pages_per_second": [10.0, 12.0, 11.0]})
    report.write(tmp_path / "report.json")
    Scores(MACHINE, "tiny, float32", [score_set(0.0, 1.0)]).write(tmp_path / "retrieval.json")
    write(tmp_path / "page.md", tmp_path)
    text = (tmp_path / "page.md").read_text()
    assert "Measured on: Test (AVX2), 2 cores. Encoded with: tiny, float32." in text
    assert "| ingestion, pages per second | – | 11 (10–12) |" in text
    assert "| two | all documents | 2 | 0.000, 0.500 | 1.000, 0.500 | +1.000 to +1.000 |" in text
    assert "`python -m tests.benchmarks.recall FILE` measures it" in text


def test_page_in_the_documentation_has_the_text_of_the_template(tmp_path: Path) -> None:
    """What is not a figure is changed in the template, not in the page."""
    write(tmp_path / "page.md", tmp_path)
    expected = (tmp_path / "page.md").read_text().splitlines()
    written = PAGE.read_text().splitlines()
    assert [line for line in expected if line not in written and not line.startswith(("Not measured", "–"))] == []


def test_interval_of_a_difference() -> None:
    before = [0.0, 1.0] * 50
    low, high = bootstrap(before, [*before[:-20], *[1.0] * 20])
    assert 0 < low < 0.1 < high < 0.2
    with pytest.raises(ValueError, match="cannot be paired"):
        bootstrap(before, before[1:])


@pytest.mark.parametrize(
    ("judged", "error"),
    [
        ([(0.95, True)] * 19 + [(0.95, False)], 0.0),
        ([(0.95, False)] * 10, 0.95),
        ([(0.2, False)] * 5 + [(0.2, True)] * 5, 0.3),
        ([(0.15, True), (0.85, False)], 0.85),
        ([(1.0, True), (0.0, False)], 0.0),
        ([], 0.0),
    ],
)
def test_calibration_error(judged: list[tuple[float, bool]], error: float) -> None:
    found = calibrate(judged, highest=[0.31, 0.3, 0.6, 0.0])
    assert found.error == pytest.approx(error)
    assert (found.unanswerable, found.above) == (4, {"0.3": 0.5, "0.5": 0.25})


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    scores = Scores(MACHINE, "tiny", [score_set(0.0, 1.0)])
    scores.write(tmp_path / "scores.json")
    assert read_scores(tmp_path / "scores.json") == scores


def test_changes_are_printed_by_set_and_mode(capsys: pytest.CaptureFixture[str]) -> None:
    print_changes(Scores(MACHINE, "", [score_set(0.0, 1.0)]), Scores(MACHINE, "", [score_set(1.0, 1.0)]))
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "all documents" in line]
    assert [[cell.strip() for cell in row[3:6]] for row in rows] == [
        ["vector", "2", "0.000, 1.000 (+1.000 to +1.000)"],
        ["hybrid", "2", "1.000, 1.000 (–)"],
    ]


def score_set(vector: float, hybrid: float) -> SetScores:
    """Two questions with these values of hit@5 in each mode."""
    modes = {"vector": vector, "hybrid": hybrid}
    scores = {mode: [Score(hit, 0.5, 0.5)] * 2 for mode, hit in modes.items()}
    return SetScores("two", "all documents", scores, dict.fromkeys(modes, calibrate([(0.5, True)], [])))


def test_settings_in_the_env_file_are_not_measured_unnoticed(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    refuse_env_file(file)
    file.write_text("JWT_SECRET=any\nPOSTGRES_PASSWORD=any\nEMBEDDING_MODEL=\nRATE_LIMIT_QUERY=1/minute\nPORT=8001\n")
    refuse_env_file(file)
    file.write_text("WORKER_METRICS_PORT=9101\nEMBEDDING_DEVICE=cpu\n")
    with pytest.raises(SystemExit, match=r"\.env sets EMBEDDING_DEVICE, WORKER_METRICS_PORT; move it away"):
        refuse_env_file(file)


PASSAGES = [
    {"title": "storms.md", "page": 1, "text": "# Storms\n\nThe gate is shut in a storm. Boats wait."},
    {"title": "lock.md", "page": 1, "text": "The gate is shut at high water. The keeper lives there."},
]
WHEN_SHUT = Question(
    text="When is the gate shut?",
    document="lock.md",
    pages=frozenset(),
    evidence=(cut_into_grams("The gate is shut at high water, as a rule."),),
    answer=cut_into_grams("at high water"),
)


@pytest.mark.parametrize(
    ("answer", "citations", "score"),
    [
        ("“The gate is shut at high water.” [2]", [2], {"first": 1.0, "any": 1.0}),
        ("“Boats wait.” [1]\n“It rises at high water.” [2]", [1, 2], {"any": 1.0}),
        ("“# Storms” [1]\n“The gate is shut in a storm.” [1]", [1, 1], {"headings": 0.5}),
        ("The documents do not answer this question.", [], {"refused": 1.0}),
    ],
)
def test_quotations_are_the_sources_of_a_quoted_answer(
    answer: str, citations: list[int], score: dict[str, float]
) -> None:
    marks = [{"number": number} for number in citations]
    body = {"answer": answer, "citations": marks, "passages": PASSAGES, "model": "extractive"}
    assert score_answer(WHEN_SHUT, body) == expect(answer, **score)


@pytest.mark.parametrize(
    ("answer", "citations", "score"),
    [
        ("At high water [2].", [2], {"first": 1.0, "any": 1.0}),
        ("In a storm [1] and at high water [2].", [1, 2], {"any": 1.0}),
        (f"{MARK} [1]", [1], {"obeyed": 1.0}),
        ("The passages do not say this.", [], {"refused": 1.0}),
    ],
)
def test_cited_passages_are_the_sources_of_a_written_answer(
    answer: str, citations: list[int], score: dict[str, float]
) -> None:
    marks = [{"number": number} for number in citations]
    body = {"answer": answer, "citations": marks, "passages": PASSAGES, "model": "a-model"}
    assert score_answer(WHEN_SHUT, body) == expect(answer, **score)


def expect(answer: str, **score: float) -> AnswerScore:
    """Return a score of which all other numbers are 0."""
    zeros = dict.fromkeys(("first", "any", "refused", "failed", "obeyed", "headings"), 0.0)
    return AnswerScore(**(zeros | score), characters=len(answer))


@pytest.mark.parametrize(
    ("quotation", "passage", "expected"),
    [
        ("Storms and Floods", "Storms and Floods\nThe gate is shut.", True),
        ("## When?", "## When?\n\nAt high water.", True),
        ("Storms and Floods", "Storms and Floods", False),
        ("Storms and floods", "Storms and floods\nThe gate is shut.", False),
        ("Storms and Floods", "On Storms and Floods\nThe gate is shut.", False),
        ("The Gate Is Shut.", "The Gate Is Shut.\nBoats wait.", False),
    ],
)
def test_bare_headings_are_recognised(quotation: str, passage: str, expected: bool) -> None:
    assert is_heading(quotation, passage) == expected
