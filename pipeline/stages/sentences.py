"""The sentences of passages that answer a question best, word for word."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from pipeline.types import Passage

SENTENCE = re.compile(r"\S.*?(?:[.!?…][\"'”’»)\]]*(?=\s)|[。！？]|(?=\n\s*\n)|\Z)", re.DOTALL)  # noqa: RUF001
WORD = re.compile(r"\w+")
LONGEST_CHARACTERS = 600
"""What is longer is no sentence but a table or a list."""
FEWEST_WORDS = 3
CANDIDATES = 16
"""So many are embedded; with 32 the answers of three test sets were no better."""
WEIGHT_OF_WORDS = 0.5
"""Of the words in common against the meaning. Either alone found the answer's sentence less often."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer, the number of its passage, and its share of the question's words."""

    text: str
    passage: int
    cover: float


def list_candidates(question: str, passages: Sequence[Passage]) -> list[Candidate]:
    """Return the 16 sentences with most of the question's words, rare ones counting more; of equals the first."""
    places: dict[str, int] = {}
    for number, passage in enumerate(passages):
        for sentence in split_sentences(passage.text):
            places.setdefault(sentence, number)
    covers = _cover(question, list(places))
    found = [Candidate(text, number, cover) for (text, number), cover in zip(places.items(), covers, strict=True)]
    return sorted(found, key=lambda candidate: -candidate.cover)[:CANDIDATES]


def choose(candidates: Sequence[Candidate], vectors: np.ndarray, question: np.ndarray, count: int) -> list[Candidate]:
    """Return the best candidates by meaning and words, best first."""
    scores = vectors @ question + WEIGHT_OF_WORDS * np.array([candidate.cover for candidate in candidates])
    return [candidates[index] for index in np.argsort(-scores, kind="stable")[:count]]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each a slice of it; the lines of what is too long to be one.

    Pieces of less than three words, such as numbers and ends of abbreviations, are left out where there is better.
    """
    pieces = list(_split(text))
    return [piece for piece in pieces if len(piece.split(maxsplit=FEWEST_WORDS)) >= FEWEST_WORDS] or pieces


def _split(text: str) -> Iterator[str]:
    for match in SENTENCE.finditer(text):
        piece = match[0].rstrip()
        lines = [piece] if len(piece) <= LONGEST_CHARACTERS else piece.splitlines()
        yield from (line.strip() for line in lines if line.strip())


def _cover(question: str, sentences: Sequence[str]) -> list[float]:
    asked = _read_words(question)
    words = [_read_words(sentence) & asked for sentence in sentences]
    counts = Counter(word for of_one in words for word in of_one)
    weights = {word: log(1 + len(sentences) / (1 + counts[word])) for word in asked}
    whole = sum(weights.values()) or 1.0
    return [sum(weights[word] for word in of_one) / whole for of_one in words]


def _read_words(text: str) -> set[str]:
    return {word.lower() for word in WORD.findall(text)}
