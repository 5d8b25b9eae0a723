import numpy as np
import pytest

from pipeline.stages.sentences import CANDIDATES, choose, list_candidates, split_sentences
from tests.unit.test_prompt import passage


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("The gate is shut. Is it open? Yes it is!", ["The gate is shut.", "Is it open?", "Yes it is!"]),
        (
            "It reads 3.2 metres on\nSunday. “It stays so.” He left.",
            ["It reads 3.2 metres on\nSunday.", "“It stays so.”"],
        ),
        ("Storms and floods\n\nThe gate is shut", ["Storms and floods", "The gate is shut"]),
        ("门 关 了。它 开 了 吗？", ["门 关 了。", "它 开 了 吗？"]),
        ("12\n\nThe gate is shut.\n\n13", ["The gate is shut."]),
        ("blue", ["blue"]),
        ("A row of it\n" * 100, ["A row of it"] * 100),
    ],
)
def test_sentences_are_slices(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences
    assert all(sentence in text for sentence in sentences)


def test_candidates_share_rare_words_with_the_question() -> None:
    passages = [
        passage("The lock is old. The lock is green. The lock is closed at high water."),
        passage("The lock is closed at high water. Boats wait for the keeper."),
    ]
    best, *others = list_candidates("When is the lock closed?", passages)
    assert (best.text, best.passage) == ("The lock is closed at high water.", 0)
    assert [candidate.text for candidate in others].count(best.text) == 0
    assert others[-1].text == "Boats wait for the keeper."


def test_number_of_candidates_is_limited() -> None:
    text = " ".join(f"Sentence number {number} says nothing." for number in range(200))
    assert len(list_candidates("What?", [passage(text)])) == CANDIDATES


def test_meaning_and_words_choose_together() -> None:
    candidates = list_candidates("red lock", [passage("A red lock stands. Quite another thing. The door stays shut.")])
    vectors = np.array([[0.6, 0.8], [0.0, 1.0], [0.8, 0.6]], np.float32)
    question = np.array([1.0, 0.0], np.float32)
    chosen = choose(candidates, vectors, question, 2)
    assert [candidate.text for candidate in chosen] == ["A red lock stands.", "The door stays shut."]
