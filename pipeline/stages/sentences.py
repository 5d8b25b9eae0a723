"""Find the sentences in passages that best answer a question, to quote them word for word."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from pipeline.types import Passage

SENTENCE = re.compile(
    r"\S.*?(?:[.!?…][\"'”’»)\]]*(?=\s)|[。！？]|(?=\n\s*\n)|\Z)",  # noqa: RUF001 - full-width marks end sentences too
    re.DOTALL,
)
WORD = re.compile(r"\w+")
LONGEST_CHARACTERS = 600
"""Longest sentence, in characters. Longer pieces are tables or lists, and are divided into lines."""
FEWEST_WORDS = 3
"""Shortest sentence, in words. Shorter pieces are numbers or the ends of abbreviations."""
CANDIDATES = 16
"""Number of sentences to embed. With 32, the answers to three test sets were no better."""
COVERAGE_WEIGHT = 0.5
"""Weight of the coverage. The cosine has weight 1. Either alone found the right sentence less often."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer the question.

    `passage` is the index of its passage. `coverage` is the share of the question's words in it, 0 to 1, by weight.
    """

    text: str
    passage: int
    coverage: float


def list_candidates(question: str, passages: Sequence[Passage]) -> list[Candidate]:
    """Return the 16 sentences with the highest coverage of the question's words. On a tie, the first one wins.

    Words are weighted by their smoothed inverse document frequency among the sentences (Spärck Jones 1972).
    A sentence that occurs twice belongs to its first passage.
    """
    passage_of: dict[str, int] = {}
    for number, passage in enumerate(passages):
        for sentence in split_sentences(passage.text):
            passage_of.setdefault(sentence, number)
    coverages = _measure_coverage(question, list(passage_of))
    found = zip(passage_of.items(), coverages, strict=True)
    candidates = [Candidate(text, number, coverage) for (text, number), coverage in found]
    return sorted(candidates, key=lambda candidate: -candidate.coverage)[:CANDIDATES]


def choose(candidates: Sequence[Candidate], vectors: np.ndarray, question: np.ndarray, count: int) -> list[Candidate]:
    """Return the `count` best candidates, best first, by cosine similarity plus half their coverage.

    `vectors` holds one unit vector per candidate, shape (candidates, dimensions); `question` is one unit vector.
    """
    scores = vectors @ question + COVERAGE_WEIGHT * np.array([candidate.coverage for candidate in candidates])
    return [candidates[index] for index in np.argsort(-scores, kind="stable")[:count]]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each a slice of it. Pieces over 600 characters are divided into their lines.

    Pieces of fewer than three words are left out, unless there are no others.
    """
    pieces = list(_split(text))
    return [piece for piece in pieces if len(piece.split(maxsplit=FEWEST_WORDS)) >= FEWEST_WORDS] or pieces


def _split(text: str) -> Iterator[str]:
    for match in SENTENCE.finditer(text):
        piece = match[0].rstrip()
        lines = [piece] if len(piece) <= LONGEST_CHARACTERS else piece.splitlines()
        yield from (line.strip() for line in lines if line.strip())


def _measure_coverage(question: str, sentences: Sequence[str]) -> list[float]:
    """Return the weighted share of the question's words in each sentence."""
    asked = _read_words(question)
    common = [_read_words(sentence) & asked for sentence in sentences]
    counts = Counter(word for words in common for word in words)
    weights = {word: log(1 + len(sentences) / (1 + counts[word])) for word in asked}
    total = sum(weights.values()) or 1.0
    return [sum(weights[word] for word in words) / total for words in common]


def _read_words(text: str) -> set[str]:
    return {word.lower() for word in WORD.findall(text)}
