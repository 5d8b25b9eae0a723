"""`make bench-answers` on a set of two documents, with the real service."""

import json
from pathlib import Path

from tests.benchmarks.answers import print_scores, score_sets
from tests.service import Service

LOCK = "# The lock\n\nThe gate is shut at high water. Boats wait for the keeper, who lives nearby."
HORSE = "# The horse\n\nThe horse sleeps in the barn. It eats hay there, in winter too."


def write_set(folder: Path, document: str, text: str, question: str, evidence: str) -> Path:
    (folder / "documents").mkdir(parents=True)
    (folder / "documents" / document).write_text(text)
    row = {"question": question, "document": document, "evidence_pages": [], "evidence_text": [evidence]}
    (folder / "questions.jsonl").write_text(json.dumps(row | {"answer": evidence}) + "\n")
    return folder


def test_scores_of_two_sets(service: Service, tmp_path: Path) -> None:
    folders = [
        write_set(tmp_path / "lock", "lock.md", LOCK, "When is the gate shut?", "The gate is shut at high water."),
        write_set(
            tmp_path / "horse", "horse.md", HORSE, "Where does the horse sleep?", "The horse sleeps in the barn."
        ),
    ]
    groups = score_sets(service.url, folders)
    assert [(group.name, group.questions, group.model) for group in groups] == [
        (name, questions, "extractive") for name in ("lock", "horse") for questions in ("its own", "of another set")
    ]
    found = [(score.first, score.refused, score.headings) for group in groups for score in group.scores]
    assert found == [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)] * 2
    print_scores(groups)
