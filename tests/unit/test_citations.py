import pytest

from pipeline.stages.citations import CitationCheck
from pipeline.types import Passage, SubjectKind, new_id

PASSAGES = [
    Passage(new_id(), SubjectKind.DOCUMENT, new_id(), None, "title", 1, 1, 0, 4, "text", score=0.5) for _ in range(3)
]


def check(*pieces: str) -> tuple[str, list[int], int]:
    """Return the checked text, the numbers that it cites, and how many citations were removed."""
    checked = CitationCheck(PASSAGES)
    said = [checked.feed(piece) for piece in pieces] + [checked.finish()]
    text, citations = "".join(piece.text for piece in said), [one for piece in said for one in piece.citations]
    for one in citations:
        assert text[one.start : one.end] == f"[{one.number}]"
        assert one.passage == PASSAGES[one.number - 1].id
    return text, [one.number for one in citations], checked.unknown


CASES = {
    "In the barn [1].": ("In the barn [1].", [1], 0),
    "Both [1][3], and [2, 3].": ("Both [1][3], and [2][3].", [1, 3, 2, 3], 0),
    "Wrong [4], and [1, 99] half.": ("Wrong, and [1] half.", [1], 2),
    "Not from zero [0].": ("Not from zero.", [], 1),
    "[7] [8]": ("", [], 2),
    "No [x], [-1], [1.5], [], [ 1 ], [see 1], a[": ("No [x], [-1], [1.5], [], [ 1 ], [see 1], a[", [], 0),
    "Of the year [2018]": ("Of the year", [], 1),
    "Too long [11111]": ("Too long [11111]", [], 0),
    "Open [1, 2": ("Open [1, 2", [], 0),
    "[[1]] and [2]\n\n[3] ": ("[[1]] and [2]\n\n[3] ", [1, 2, 3], 0),
}


@pytest.mark.parametrize("text", CASES)
def test_known_citations_stay_and_unknown_ones_are_removed(text: str) -> None:
    assert check(text) == CASES[text]
    assert check(*text) == CASES[text]
    for cut in range(len(text)):
        assert check(text[:cut], text[cut:]) == CASES[text]


def test_words_pass_without_delay() -> None:
    checked = CitationCheck(PASSAGES)
    assert checked.feed("In the barn").text == "In the barn"
    assert checked.feed(" [").text == ""
    assert checked.feed("1").text == ""
    assert checked.feed("] it").text == " [1] it"


def test_time_is_linear_in_what_the_model_sends() -> None:
    text = "[" + "1," * 200_000 + " " * 200_000
    assert check(text)[0] == text
