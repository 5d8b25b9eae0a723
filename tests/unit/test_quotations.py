import numpy as np
import pytest
from msgspec.structs import replace

from pipeline.stages.quotations import CANDIDATES, CHOSEN, Quotation, choose, list_candidates, may_answer
from pipeline.types import Passage
from tests.unit.test_prompt import passage


def list_texts(question: str, *passages: Passage) -> list[str]:
    return [candidate.sentence.text for candidate in list_candidates(question, passages)]


def test_candidates_share_rare_words_with_the_question() -> None:
    passages = [
        passage("The lock is old. The lock is green. The lock is closed at high water."),
        passage("The lock is closed at high water. Boats wait for the keeper."),
    ]
    best, *others = list_candidates("When is the lock closed?", passages)
    assert (best.sentence.text, best.passage) == ("The lock is closed at high water.", 0)
    assert [candidate.sentence.text for candidate in others].count(best.sentence.text) == 0
    assert others[-1].sentence.text == "Boats wait for the keeper."


def test_sentences_without_spaces_have_words() -> None:
    text = "守门人住在附近。门在高水位时关闭。"
    best, *others = list_candidates("门什么时候关闭？", [passage("The gate is quite old."), passage(text)])
    assert best.sentence.text == "门在高水位时关闭。"
    assert best.preceding
    assert {other.sentence.text for other in others} == {"守门人住在附近。", "The gate is quite old."}


def test_number_of_candidates_is_limited() -> None:
    text = " ".join(f"Sentence number {number} says nothing." for number in range(200))
    assert len(list_candidates("What?", [passage(text)])) == CANDIDATES


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("# The red lock\n\nThe red lock is shut.", ["The red lock is shut."]),
        ("# The red lock", []),
        ("Is the red lock shut?", []),
        ("Is the red lock shut? It is shut at night.", ["It is shut at night."]),
        ("12\n\nThe red lock is shut.\n\n13", ["The red lock is shut."]),
        ("red", ["red"]),
    ],
)
def test_headings_questions_and_numbers_are_no_candidates(text: str, candidates: list[str]) -> None:
    assert list_texts("red lock", passage(text)) == candidates


@pytest.mark.parametrize("question", ["How old is the sourdough?", "## How old is the sourdough?\n"])
def test_answer_counts_with_the_question_before_it(question: str) -> None:
    text = f"The sourdough is loved.\n\n{question}\nIt was begun in 1932. It is fed daily."
    answer, *others = list_candidates("How old is the sourdough?", [passage(text)])
    assert answer.sentence.text == "It was begun in 1932."
    assert answer.coverage == pytest.approx(1)
    assert answer.text == f"{question.strip()} It was begun in 1932."
    assert [other.text for other in others] == ["The sourdough is loved.", "It is fed daily."]


def quote(cosines: dict[str, float], question: str, *texts: str) -> list[Quotation]:
    """Choose quotations. Sentences that begin with a key have its cosine, and all others have 0."""
    passages = [passage(text) for text in texts]
    candidates = list_candidates(question, passages)
    found = [
        next((cosine for start, cosine in cosines.items() if candidate.sentence.text.startswith(start)), 0.0)
        for candidate in candidates
    ]
    vectors = np.array([[cosine, (1 - cosine**2) ** 0.5] for cosine in found], np.float32)
    return choose(candidates, vectors, np.array([1.0, 0.0], np.float32), passages)


LOCK = """\
The red lock stands.

It is new.

Quite another thing. The door stays shut. Boats wait for the keeper.

The sun was hot.
"""


@pytest.mark.parametrize(
    ("cosines", "quotations"),
    [
        (
            {"The red": 0.6, "The door": 0.9},
            ["Quite another thing. The door stays shut. Boats wait for the keeper.", "The red lock stands."],
        ),
        ({"The red": 0.9, "It is": 0.8}, ["The red lock stands.", "It is new."]),
        (
            {"The sun": 0.9, "The red": 0.8, "The door": 0.7},
            ["The sun was hot.", "The red lock stands.", "The door stays shut."],
        ),
        ({"The sun": 0.9, "The door": 0.4}, ["The sun was hot."]),
    ],
    ids=["neighbours of the best", "one quotation a paragraph", "reading order", "far below the best"],
)
def test_quotations_of_a_passage(cosines: dict[str, float], quotations: list[str]) -> None:
    assert [one.text for one in quote(cosines, "why?", LOCK)] == quotations


def test_number_of_quoted_sentences_is_limited() -> None:
    text = "\n\n".join(f"Lock {number} is shut.\n\nNo." for number in range(20))
    assert len(quote({"Lock": 0.9}, "lock", text)) == CHOSEN


def test_passages_count_by_their_rank() -> None:
    cosines = {"The lock": 0.6, "A lock": 0.65}
    texts = ("The lock is shut.", "A lock is open.")
    assert quote(cosines, "lock", *texts)[0] == Quotation("The lock is shut.", 0)
    assert quote(cosines | {"A lock": 0.75}, "lock", *texts)[0] == Quotation("A lock is open.", 1)


@pytest.mark.parametrize(
    ("text", "quotation"),
    [
        ("The lock is shut.\nBoats wait there.", "The lock is shut.\nBoats wait there."),
        ("The lock is shut.\n\nBoats wait there.", "The lock is shut."),
        ("The lock is shut.\n\n# The boats of the lock", "The lock is shut."),
        ("Boats wait there.\nThe lock is shut.", "Boats wait there.\nThe lock is shut."),
        ("Boats wait there.\n\nThe lock is shut.", "The lock is shut."),
        ("Do boats wait?\nThe lock is shut.\nWhy is that?", "The lock is shut."),
    ],
)
def test_neighbours_of_the_best_sentence_are_quoted_if_they_are_of_the_same_paragraph(
    text: str, quotation: str
) -> None:
    assert quote({"The lock": 0.9}, "lock", text) == [Quotation(quotation, 0)]


@pytest.mark.parametrize(
    ("scores", "is_likely"),
    [([0.09], True), ([0.07], False), ([0.03] * 3, True), ([0.01] * 8, False), ([0.01] * 50, False), ([], False)],
)
def test_passages_may_answer_if_one_of_the_first_is_likely_enough_to_be_relevant(
    scores: list[float], is_likely: bool
) -> None:
    assert may_answer([replace(passage("The lock is shut."), score=score) for score in scores]) == is_likely
