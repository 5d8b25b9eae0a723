import math

import pytest

from pipeline.stages.headings import add_headings, find_headings
from pipeline.stages.words.languages import NO_STEMS
from pipeline.types import PageText, TextChunk


@pytest.mark.parametrize(
    ("line", "is_heading"),
    [
        ("Consolidated Statement of Cash Flows", True),
        ("CONSOLIDATED BALANCE SHEETS", True),
        ("Item 7. Management's Discussion and Analysis", True),
        ("KONZERNBILANZ", True),
        ("Net income rose in the quarter that ended in June", False),
        ("Total assets 1,204 1,198 1,177", False),
        ("Revenue Grew Again.", False),
        ("A" * 81, False),
        ("2018 2017 2016", False),
        ("--", False),
    ],
)
def test_headings_are_short_capitalised_lines(line: str, *, is_heading: bool) -> None:
    assert list(find_headings(PageText(1, 0, [f"\n  {line}  \ntext follows here\n"]))) == [line] * is_heading


def test_headings_are_among_the_first_five_lines() -> None:
    page = PageText(1, 0, ["small print\n\nmore\n", "of it\nand more\nFifth Line\nSixth Line\n"])
    assert list(find_headings(page)) == ["Fifth Line"]


def test_words_of_a_running_head_tell_little() -> None:
    pages = [
        PageText(number, 0, [f"The Annual Reports\n{name}\ntext\n"]) for number, name in ((1, "Balance"), (2, "Cash"))
    ]
    chunks = [TextChunk(1, 0, "text"), TextChunk(2, 0, "text"), TextChunk(2, 9, "text")]
    little, much = math.log(3 / 2), math.log(3)
    first, second = ({"annual": little, name: much, "report": little} for name in ("balanc", "cash"))
    assert [chunk.headings for chunk in add_headings(pages, chunks, "english")] == [first, second, second]
    assert add_headings(pages[:1], chunks[:1], "english") == chunks[:1], "a document of one page"


def test_headings_are_split_as_passages_are() -> None:
    pages = [PageText(1, 0, ["Résumé of the Café's Q2-Results, 火车\ntext\n"]), PageText(2, 0, ["text\n"])]
    chunk = add_headings(pages, [TextChunk(1, 0, "text")], NO_STEMS)[0]
    assert set(chunk.headings) == {"résumé", "of", "the", "café", "s", "q2", "results", "火车"}
