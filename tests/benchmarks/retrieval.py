"""`make bench-retrieval`: how well queries find what answers them, over HTTP, beside plain nearest-vector search.

A set is a folder with `documents/` and `questions.jsonl`; a question names its document, the pages of its evidence
(of a PDF) and the evidence's text. Each set has an account of its own, so a second run finds everything loaded.
Intervals are of the difference to `mode: vector` in the same run: paired bootstrap over the questions, 95 %.
"""

import argparse
import json
import math
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from rich.console import Console
from rich.table import Table

from tests.e2e.conftest import Up
from tests.service import NO_LIMITS

SHARED = Path("../shared/data")
TOP_K = 10
EVIDENCE_CHARACTERS = 6_000
"""So much of the passages fits into a prompt, whatever their size."""
PASSWORD = "password of a benchmark"
UPLOADS_AT_ONCE = 8
SAMPLES = 10_000
BASELINE = "vector"
MODES = ("hybrid", "keyword", BASELINE)
SCOPES = ("all", "one document")
WORD = re.compile(r"[a-z0-9]+")

Grams = set[tuple[str, ...]]


@dataclass(frozen=True)
class Question:
    """What is asked, and where the answer stands."""

    text: str
    document: str
    pages: frozenset[int]
    evidence: tuple[Grams, ...]


@dataclass(frozen=True)
class Hit:
    """A passage that was found."""

    document: str
    page: int
    text: str


@dataclass(frozen=True)
class Score:
    """How well one question was answered, each from 0 to 1."""

    hit_at_5: float
    evidence: float
    """Share of the evidence's word 3-grams within the first 6,000 characters of what was found."""
    ndcg_at_10: float


METRICS: dict[str, Callable[[Score], float]] = {
    "hit@5": lambda score: score.hit_at_5,
    f"evidence@{EVIDENCE_CHARACTERS}": lambda score: score.evidence,
    "nDCG@10": lambda score: score.ndcg_at_10,
}


def load_questions(folder: Path, field: str) -> list[Question]:
    """The questions of a set; `field` names their wording (XQuAD has German ones, too)."""
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Question(
            text=row[field],
            document=row["document"],
            pages=frozenset(row["evidence_pages"]),
            evidence=tuple(map(cut_into_grams, row["evidence_text"])),
        )
        for row in map(json.loads, lines)
        if field in row
    ]


def cut_into_grams(text: str) -> Grams:
    """Word 3-grams; of a shorter text all its words as one."""
    words = WORD.findall(text.lower())
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)} - {()}


def score(question: Question, hits: Sequence[Hit]) -> Score:
    """A hit counts when it is of the right file and of an evidence page, or holds half of an evidence text."""
    found = [cut_into_grams(hit.text) for hit in hits]
    relevant = [
        hit.document == question.document
        and (
            hit.page in question.pages
            if question.pages
            else any(2 * len(text & grams) >= len(text) > 0 for text in question.evidence)
        )
        for hit, grams in zip(hits, found, strict=True)
    ]
    return Score(float(any(relevant[:5])), _measure_evidence(question, hits), _compute_ndcg(question, hits, relevant))


def _measure_evidence(question: Question, hits: Sequence[Hit]) -> float:
    wanted: Grams = set().union(*question.evidence)
    got: Grams = set()
    left = EVIDENCE_CHARACTERS
    for hit in hits:
        if left > 0 and hit.document == question.document:
            got |= cut_into_grams(hit.text[:left])
        left -= len(hit.text)
    return len(wanted & got) / len(wanted) if wanted else 0.0


def _compute_ndcg(question: Question, hits: Sequence[Hit], relevant: Sequence[bool]) -> float:
    """Several hits of one page count once; of a text file only the first relevant one counts."""
    gains: dict[tuple[str, int], bool] = {}
    for place, (hit, is_relevant) in enumerate(zip(hits, relevant, strict=True)):
        gains.setdefault((hit.document, hit.page if question.pages else place), is_relevant)
    ranks = [rank for rank, gain in enumerate(gains.values()) if gain and rank < TOP_K]
    ideal = min(max(1, len(question.pages)), TOP_K)
    return sum(map(_discount, ranks[:ideal])) / sum(map(_discount, range(ideal)))


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 2)


class Account:
    """Somebody who has the documents of one set."""

    def __init__(self, url: str, name: str) -> None:
        self._credentials = {"email": f"{name}@retrieval.example.org", "password": PASSWORD}
        self._http = httpx2.Client(base_url=url, timeout=600)
        self._http.post("/v1/auth/register", json=self._credentials)
        self._log_in()

    def _log_in(self) -> None:
        answer = self._http.post("/v1/auth/login", json=self._credentials).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _request(self, method: str, path: str, **content: Any) -> Any:
        """The answer's JSON, once the limits let us and with a token that is still valid."""
        while True:
            answer = self._http.request(method, path, **content)
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                self._log_in()
            elif answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                time.sleep(int(answer.headers["Retry-After"]))
            else:
                return answer.raise_for_status().json()

    def load(self, file: Path) -> str:
        """Upload a file, wait until it can be searched, and return its id."""
        document = self._request("POST", "/v1/documents", files={"file": (file.name, file.read_bytes())})
        while document["status"] not in ("ready", "failed"):
            document = self._request("GET", f"/v1/documents/{document['id']}", headers={"Prefer": "wait=30"})
        assert document["status"] == "ready", document
        return str(document["id"])

    def search(self, question: str, mode: str, document_id: str | None) -> list[Hit]:
        wanted = {"query": question, "top_k": TOP_K, "mode": mode}
        if document_id:
            wanted["document_ids"] = [document_id]
        found = self._request("POST", "/v1/search", json=wanted)
        return [Hit(passage["title"], passage["page"], passage["text"]) for passage in found["passages"]]


@dataclass(frozen=True)
class Comparison:
    """The scores of each mode on the questions of one set, in the same order."""

    name: str
    scores: dict[str, list[Score]]

    def add_rows(self, table: Table) -> None:
        """Means of each mode, and by how much they differ from those of the baseline."""
        for mode, scores in self.scores.items():
            cells = [
                self._describe([measure(one) for one in scores], [measure(one) for one in self.scores[BASELINE]])
                for measure in METRICS.values()
            ]
            table.add_row(self.name, mode, str(len(scores)), *cells)

    def _describe(self, values: list[float], baseline: list[float]) -> str:
        mean = f"{np.mean(values):.3f}"
        if values == baseline:
            return mean
        low, high = bootstrap(np.subtract(values, baseline))
        return f"{mean} ({low:+.3f} to {high:+.3f})"


def bootstrap(differences: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of paired differences (percentile bootstrap, Efron 1979), always with the same seed."""
    drawn = np.random.default_rng(0).integers(len(differences), size=(SAMPLES, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def compare_set(url: str, folder: Path, field: str) -> list[Comparison]:
    """Load a set and ask its questions, of all documents and of the right one."""
    account = Account(url, folder.name)
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        files = sorted((folder / "documents").iterdir())
        ids = {file.name: document for file, document in zip(files, threads.map(account.load, files), strict=True)}
        questions = load_questions(folder, field)
        comparisons = []
        for scope in SCOPES:

            def ask(mode: str, question: Question, scope: str = scope) -> Score:
                document_id = ids[question.document] if scope == "one document" else None
                return score(question, account.search(question.text, mode, document_id))

            scores = {mode: list(threads.map(partial(ask, mode), questions)) for mode in MODES}
            comparisons.append(Comparison(f"{folder.name}, {scope}", scores))
    return comparisons


def run_service(folder: Path) -> Up:
    """A service of our own, for those who name none."""
    return Up(folder, **NO_LIMITS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.retrieval", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help=f"sets; else those in {SHARED}")
    parser.add_argument("--url", help="a running service; else one is started")
    parser.add_argument("--field", default="question", help="the question's wording: XQuAD has question_de, too")
    options = parser.parse_args()
    folders = options.folders or sorted(file.parent for file in SHARED.glob("*/questions.jsonl"))
    if not folders:
        parser.error(f"there are no sets in {SHARED}; name some")
    table = Table("set", "mode", "questions", *METRICS)
    with ExitStack() as resources:
        if not options.url:
            service = run_service(Path(resources.enter_context(tempfile.TemporaryDirectory())))
            resources.callback(service.stop)
        for folder in folders:
            for comparison in compare_set(options.url or service.url, folder, options.field):
                comparison.add_rows(table)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
