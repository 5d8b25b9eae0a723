"""How well the hits of a search answer a question."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TOP_K = 10
EVIDENCE_CHARACTERS = 6_000
"""Length of the passages that a prompt can hold."""
WORD = re.compile(r"[a-z0-9]+")

Grams = set[tuple[str, ...]]


@dataclass(frozen=True)
class Question:
    """A question, and where its answer is."""

    text: str
    document: str
    pages: frozenset[int]
    """Pages of the evidence in a PDF. Empty for other files."""
    evidence: tuple[Grams, ...]
    """The word 3-grams of each piece of evidence."""
    answer: Grams
    """The word 3-grams of the answer."""


@dataclass(frozen=True)
class Hit:
    """A passage that was found."""

    document: str
    page: int
    text: str
    score: float = 0.0


@dataclass(frozen=True)
class Score:
    """How well one question was answered. Each number is from 0 to 1."""

    hit_at_5: float
    evidence: float
    """Share of the evidence's word 3-grams within the first 6,000 characters of the hits."""
    ndcg_at_10: float


METRICS: dict[str, Callable[[Score], float]] = {
    "hit@5": lambda score: score.hit_at_5,
    "nDCG@10": lambda score: score.ndcg_at_10,
    f"evidence@{EVIDENCE_CHARACTERS}": lambda score: score.evidence,
}


def load_questions(folder: Path, field: str) -> list[Question]:
    """Read the questions of a set. `field` names their wording: XQuAD also has `question_de`."""
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Question(
            text=row[field],
            document=row["document"],
            pages=frozenset(row["evidence_pages"]),
            evidence=tuple(map(cut_into_grams, row["evidence_text"])),
            answer=cut_into_grams(row["answer"]),
        )
        for row in map(json.loads, lines)
        if field in row
    ]


def cut_into_grams(text: str) -> Grams:
    """Return the word 3-grams of a text, or all its words as one if it is shorter."""
    words = WORD.findall(text.lower())
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)} - {()}


def judge(question: Question, hits: Sequence[Hit]) -> list[bool]:
    """Return which hits are relevant: from an evidence page of the file or, without pages, with half of the evidence."""
    return [
        hit.document == question.document
        and (hit.page in question.pages if question.pages else _has_evidence(question, cut_into_grams(hit.text)))
        for hit in hits
    ]


def score(question: Question, hits: Sequence[Hit], relevant: Sequence[bool]) -> Score:
    """Score hits, of which some are relevant."""
    return Score(float(any(relevant[:5])), _measure_evidence(question, hits), _compute_ndcg(question, hits, relevant))


def holds_answer(question: Question, hit: Hit) -> bool:
    """Return whether a text from the right file has half of a piece of evidence, or all of an answer of three words."""
    grams = cut_into_grams(hit.text)
    return hit.document == question.document and (
        _has_evidence(question, grams) or (bool(question.answer) and question.answer <= grams)
    )


def _has_evidence(question: Question, grams: Grams) -> bool:
    return any(2 * len(text & grams) >= len(text) > 0 for text in question.evidence)


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
    """Compute nDCG@10. Hits of one page count once. Of a file without pages, the first relevant hit counts."""
    gains: dict[tuple[str, int], bool] = {}
    for place, (hit, is_relevant) in enumerate(zip(hits, relevant, strict=True)):
        gains.setdefault((hit.document, hit.page if question.pages else place), is_relevant)
    ranks = [rank for rank, gain in enumerate(gains.values()) if gain and rank < TOP_K]
    ideal = min(max(1, len(question.pages)), TOP_K)
    return sum(map(_discount, ranks[:ideal])) / sum(map(_discount, range(ideal)))


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 2)
