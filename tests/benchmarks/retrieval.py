"""`make bench-retrieval`: how well searches over HTTP find the passages that answer a question.

A set is a folder with `documents/` and `questions.jsonl`. A question names its document, the text of its evidence and,
in a PDF, the pages of the evidence. Each set has a user of its own, so a second run on the same service finds the
documents there. Each set is also asked questions that it does not answer. The scores are written to a file. `--compare BEFORE AFTER` compares two such files.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2

from tests.benchmarks.calibration import NONSENSE, calibrate
from tests.benchmarks.machine import read_machine
from tests.benchmarks.scores import Scores, SetScores, print_calibrations, print_changes, print_modes, read_scores
from tests.benchmarks.scoring import TOP_K, Hit, Question, judge, load_questions, score
from tests.benchmarks.stack import SETTINGS, read_model, refuse_env_file
from tests.e2e.conftest import Up

SHARED = Path("../shared/data")
PASSWORD = "password of a benchmark"
REQUESTS_AT_ONCE = 8
OTHER_QUESTIONS = 20
"""Number of questions of each other set."""
MODES = ("vector", "hybrid", "keyword")
SCOPES = ("all documents", "the right document")


class Account:
    """A user who has the documents of one set."""

    def __init__(self, url: str, name: str) -> None:
        self._credentials = {"email": f"{name}@retrieval.example.org", "password": PASSWORD}
        self._http = httpx2.Client(base_url=url, timeout=600)
        self._http.post("/v1/auth/register", json=self._credentials)
        self._log_in()

    def close(self) -> None:
        self._http.close()

    def _log_in(self) -> None:
        answer = self._http.post("/v1/auth/login", json=self._credentials).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _request(self, method: str, path: str, **content: Any) -> Any:
        """Return the JSON of the answer. Wait if a rate limit refuses the request, and log in again if the token has expired."""
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
        return [
            Hit(passage["title"], passage["page"], passage["text"], passage["score"]) for passage in found["passages"]
        ]

    def ask(self, question: str) -> dict[str, Any]:
        """Return the answer to a question of all documents. Raises HTTPStatusError if the language model fails."""
        answer: dict[str, Any] = self._request("POST", "/v1/ask", json={"question": question})
        return answer


def score_set(url: str, folder: Path, field: str, others: Sequence[str]) -> list[SetScores]:
    """Load a set and ask its questions in each mode, in all documents and in the right one.

    All documents are also asked `others`, which they do not answer.
    """
    account = Account(url, folder.name)
    questions = load_questions(folder, field)
    name = folder.name if field == "question" else f"{folder.name} ({field})"
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        files = sorted((folder / "documents").iterdir())
        ids = {file.name: document for file, document in zip(files, threads.map(account.load, files), strict=True)}

        def ask(question: Question, mode: str, scope: str) -> list[Hit]:
            return account.search(question.text, mode, None if scope == SCOPES[0] else ids[question.document])

        def find_highest(text: str, mode: str) -> float:
            return max((hit.score for hit in account.search(text, mode, None)), default=0.0)

        def score_all(scope: str) -> SetScores:
            found = SetScores(name, scope, {})
            for mode in MODES:
                hits = list(threads.map(lambda question, mode=mode: ask(question, mode, scope), questions))
                relevant = [judge(question, one) for question, one in zip(questions, hits, strict=True)]
                found.scores[mode] = list(map(score, questions, hits, relevant))
                judged = [
                    (hit.score, is_relevant)
                    for pair in zip(hits, relevant, strict=True)
                    for hit, is_relevant in zip(*pair, strict=True)
                ]
                unanswerable = others if scope == SCOPES[0] else ()
                highest = list(threads.map(lambda text, mode=mode: find_highest(text, mode), unanswerable))
                found.calibrations[mode] = calibrate(judged, highest)
            return found

        return [score_all(scope) for scope in SCOPES]


def take_others(folder: Path, folders: Sequence[Path]) -> list[str]:
    """Return nonsense, and 20 questions of each other set. XQuAD has the same articles in two languages."""
    found = list(NONSENSE)
    for other in folders:
        if other.name.partition("_")[0] != folder.name.partition("_")[0]:
            questions = load_questions(other, "question")
            found += [question.text for question in questions[:: max(1, len(questions) // OTHER_QUESTIONS)]][
                :OTHER_QUESTIONS
            ]
    return found


@contextmanager
def find_service(url: str | None) -> Iterator[tuple[str, str]]:
    """Yield the URL and the model of the named service, or of a new one."""
    if url:
        yield url, ""
        return
    refuse_env_file()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        up = Up(Path(folder), **SETTINGS)
        try:
            yield up.url, read_model(up.data_dir)
        finally:
            up.stop()


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.retrieval", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help=f"sets; by default all sets in {SHARED}")
    parser.add_argument("--url", help="a running service; by default one is started")
    parser.add_argument("--field", default="question", help="wording of the questions; XQuAD also has question_de")
    parser.add_argument("--output", type=Path, default=Path(".bench/retrieval.json"), help="file for the scores")
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("BEFORE", "AFTER"),
        help="compare two files of scores, and ask nothing",
    )
    options = parser.parse_args()
    options.folders = options.folders or sorted(file.parent for file in SHARED.glob("*/questions.jsonl"))
    if not options.folders and not options.compare:
        parser.error(f"there are no sets in {SHARED}; name some")
    return options


def main() -> None:
    options = parse_options()
    if options.compare:
        before, after = map(read_scores, options.compare)
        print_changes(before, after)
        return
    with find_service(options.url) as (url, model):
        sets = [
            scores
            for folder in options.folders
            for scores in score_set(url, folder, options.field, take_others(folder, options.folders))
        ]
    scores = Scores(read_machine(), model, sets)
    print_modes(scores)
    print_calibrations(scores)
    options.output.parent.mkdir(exist_ok=True)
    scores.write(options.output)


if __name__ == "__main__":
    main()
