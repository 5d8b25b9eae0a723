import pytest

from pipeline.stages.citations import CitationCheck


def check(*pieces: str, passages: int = 3) -> tuple[str, list[int], int]:
    """Return the checked text, the passages that it cites, and how many citations were removed."""
    checked = CitationCheck(passages)
    said = [checked.feed(piece) for piece in pieces] + [checked.finish()]
    return "".join(piece.text for piece in said), [n for piece in said for n in piece.citations], checked.unknown


CASES = {
    "In the barn [0].": ("In the barn [0].", [0], 0),
    "Both [0][2], and [1, 2].": ("Both [0][2], and [1][2].", [0, 2, 1, 2], 0),
    "Wrong [3], and [0, 99] half.": ("Wrong, and [0] half.", [0], 2),
    "[7] [8]": ("", [], 2),
    "No [x], [-1], [1.5], [], [ 1 ], [see 1], a[": ("No [x], [-1], [1.5], [], [ 1 ], [see 1], a[", [], 0),
    "Of the year [2018]": ("Of the year", [], 1),
    "Too long [11111]": ("Too long [11111]", [], 0),
    "Open [1, 2": ("Open [1, 2", [], 0),
    "[[1]] and [1]\n\n[2] ": ("[[1]] and [1]\n\n[2] ", [1, 1, 2], 0),
}


@pytest.mark.parametrize("text", CASES)
def test_known_citations_stay_and_unknown_ones_are_removed(text: str) -> None:
    assert check(text) == CASES[text]
    assert check(*text) == CASES[text]
    for cut in range(len(text)):
        assert check(text[:cut], text[cut:]) == CASES[text]


def test_words_pass_without_delay() -> None:
    checked = CitationCheck(3)
    assert checked.feed("In the barn").text == "In the barn"
    assert checked.feed(" [").text == ""
    assert checked.feed("0").text == ""
    assert checked.feed("] it").text == " [0] it"


def test_time_is_linear_in_what_the_model_sends() -> None:
    text = "[" + "1," * 200_000 + " " * 200_000
    assert check(text)[0] == text
