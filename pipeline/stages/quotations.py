"""Choose the sentences of passages that best answer a question, to quote them word for word."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, prod

import numpy as np

from pipeline.stages.sentences import Sentence, split_sentences
from pipeline.stages.words.split import split
from pipeline.types import Passage

FEWEST_WORDS = 3
"""Shortest sentence to quote, in words. Shorter ones are numbers or the ends of abbreviations."""
CANDIDATES = 20
"""Number of sentences to embed. With 32, the answers to four test sets were no better. With 16, one was worse."""
CHOSEN = 5
"""Number of sentences to choose."""
COVERAGE_WEIGHT = 0.5
"""Weight of the coverage. The cosine has weight 1. Either alone found the right sentence less often."""
RANK_WEIGHT = 0.2
"""Weight of the reciprocal rank of the passage. From 0.1 to 0.2, the answers to four test sets were as good."""
FARTHEST = 0.4
"""Sentences whose score is lower than the best one by more are not quoted."""
LEAST_CHANCE = 0.08
"""Lowest chance that one of the first passages is relevant, if they are to answer the question.

Of the questions of five test sets, at most 1 % had a lower one, and 12 % in one set. So had 62 to 98 % of the questions
of other sets.
"""
FIRST_PASSAGES = 8
"""Number of passages of which one must be relevant. Many passages would have one by chance."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer the question."""

    sentence: Sentence
    preceding: Sentence | None
    """The sentence before it in the same paragraph, if it can be quoted."""
    following: Sentence | None
    """The sentence after it in the same paragraph, if it can be quoted."""
    passage: int
    """Index of the passage."""
    place: int
    """Index among the sentences of the passage."""
    is_good: bool
    """Whether it is whole and long enough."""
    text: str
    """The sentence. If a question precedes it in the passage, it begins with this question."""
    coverage: float
    """Share of the question's words in the text, 0 to 1, by weight."""

    @property
    def prior(self) -> float:
        """Its score without the cosine."""
        return COVERAGE_WEIGHT * self.coverage + RANK_WEIGHT / (1 + self.passage)


@dataclass(frozen=True, slots=True)
class Quotation:
    """A sentence, or some that follow each other, word for word. `passage` is the index of the passage."""

    text: str
    passage: int


def list_candidates(question: str, passages: Sequence[Passage]) -> list[Candidate]:
    """Return the 20 sentences that share most of the question's words, with a bonus for those of the first passages.

    Words are weighted by their smoothed inverse document frequency among the sentences (Spärck Jones 1972). A sentence
    that occurs twice belongs to its first passage. There are no headings and no questions. Cut sentences and those of
    fewer than three words are left out, too, unless there are no others.
    """
    every = [candidate for number, passage in enumerate(passages) for candidate in _list_sentences(number, passage)]
    first = {candidate.sentence.text: candidate for candidate in reversed(every)}
    found = [one for one in every if first[one.sentence.text] is one]
    found = [one for one in found if one.is_good] or found
    coverages = _measure_coverage(question, [one.text for one in found])
    candidates = [replace(one, coverage=coverage) for one, coverage in zip(found, coverages, strict=True)]
    return sorted(candidates, key=lambda candidate: -candidate.prior)[:CANDIDATES]


def choose(
    candidates: Sequence[Candidate], vectors: np.ndarray, question: np.ndarray, passages: Sequence[Passage]
) -> list[Quotation]:
    """Return the quotations that answer the question.

    They are the five sentences with the highest score, and the neighbours of the best. The score is the sum of the
    cosine, the weighted coverage and the weighted reciprocal rank of the passage. Sentences that follow each other in
    a paragraph are one quotation. The quotation with the best sentence is the first. The others are in reading order.

    `vectors` holds one unit vector per candidate, shape (candidates, dimensions); `question` is one unit vector.
    """
    cosines = vectors @ question
    scores = cosines + np.array([candidate.prior for candidate in candidates])
    order = np.argsort(-scores, kind="stable")[:CHOSEN]
    best = candidates[order[0]]
    near = [candidates[index] for index in order if scores[index] >= scores[order[0]] - FARTHEST]
    chosen = {(candidate.passage, candidate.place): candidate.sentence for candidate in near}
    if best.preceding:
        chosen[best.passage, best.place - 1] = best.preceding
    if best.following:
        chosen[best.passage, best.place + 1] = best.following
    runs = sorted(_find_runs(chosen), key=lambda run: (best.passage, best.place) not in run)
    return [_quote([chosen[place] for place in run], run[0][0], passages) for run in runs]


def may_answer(passages: Sequence[Passage]) -> bool:
    """Return whether it is likely enough that one of the first passages is relevant, by their scores."""
    none_is = prod(1 - passage.score for passage in passages[:FIRST_PASSAGES])
    return 1 - none_is >= LEAST_CHANCE


def _list_sentences(number: int, passage: Passage) -> list[Candidate]:
    """Return the sentences of a passage that state something, without their coverage."""
    sentences = split_sentences(passage.text, is_continued=passage.start > 0)
    good = [sentence if _can_be_quoted(sentence) else None for sentence in sentences]
    rows = zip(sentences, [None, *sentences], good, [None, *good], [*good[1:], None], strict=False)
    return [
        Candidate(
            sentence=sentence,
            preceding=preceding if not sentence.is_first else None,
            following=following if following and not following.is_first else None,
            passage=number,
            place=place,
            is_good=bool(itself),
            text=f"{before.text} {sentence.text}" if before and before.is_question else sentence.text,
            coverage=0.0,
        )
        for place, (sentence, before, itself, preceding, following) in enumerate(rows)
        if _is_statement(sentence)
    ]


def _is_statement(sentence: Sentence) -> bool:
    """Return whether a sentence may answer a question. A heading or a question does not: the text after it does."""
    return not (sentence.is_heading or sentence.is_question)


def _can_be_quoted(sentence: Sentence) -> bool:
    is_long = (
        len(sentence.text.split(maxsplit=FEWEST_WORDS)) >= FEWEST_WORDS or len(split(sentence.text)) >= FEWEST_WORDS
    )
    return is_long and sentence.is_whole and _is_statement(sentence)


def _find_runs(chosen: Mapping[tuple[int, int], Sentence]) -> list[list[tuple[int, int]]]:
    """Group pairs of passage and place in reading order. The sentences of a group follow each other in a paragraph."""
    runs: list[list[tuple[int, int]]] = []
    for passage, place in sorted(chosen):
        if runs and runs[-1][-1] == (passage, place - 1) and not chosen[passage, place].is_first:
            runs[-1].append((passage, place))
        else:
            runs.append([(passage, place)])
    return runs


def _quote(sentences: Sequence[Sentence], number: int, passages: Sequence[Passage]) -> Quotation:
    return Quotation(passages[number].text[sentences[0].start : sentences[-1].end], number)


def _measure_coverage(question: str, sentences: Sequence[str]) -> list[float]:
    """Return the weighted share of the question's words in each sentence."""
    asked = _read_words(question)
    common = [_read_words(sentence) & asked for sentence in sentences]
    counts = Counter(word for words in common for word in words)
    weights = {word: log(1 + len(sentences) / (1 + counts[word])) for word in asked}
    total = sum(weights.values()) or 1.0
    return [sum(weights[word] for word in words) / total for words in common]


def _read_words(text: str) -> set[str]:
    return {word.text for word in split(text)}
