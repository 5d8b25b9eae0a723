import pytest

from pipeline.stages.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("The gate is shut. Is it open? Yes it is!", ["The gate is shut.", "Is it open?", "Yes it is!"]),
        (
            "It reads 3.2 metres on\nSunday. “It stays so.” He left.",
            ["It reads 3.2 metres on\nSunday.", "“It stays so.”", "He left."],
        ),
        ("门 关 了。它 开 了 吗？", ["门 关 了。", "它 开 了 吗？"]),
        ("هل البوابة مغلقة؟ نعم.", ["هل البوابة مغلقة؟", "نعم."]),
        ("12\n\nThe gate is shut.\n\n13", ["12", "The gate is shut.", "13"]),
        ("blue", ["blue"]),
        ("Dr. Finch met J. Reese, see Fig. 3. He left.", ["Dr. Finch met J. Reese, see Fig. 3.", "He left."]),
        (
            "The U.S. Senate met at 9 a.m. on Monday. It voted.",
            ["The U.S. Senate met at 9 a.m. on Monday.", "It voted."],
        ),
        ("Locks, gates etc. are shut. Boats wait.", ["Locks, gates etc. are shut.", "Boats wait."]),
        ("Πότε κλείνει; Τη νύχτα· όχι νωρίς; Ναι.", ["Πότε κλείνει;", "Τη νύχτα· όχι νωρίς;", "Ναι."]),
        ("It is red; it is new. It stays.", ["It is red; it is new.", "It stays."]),
        ("“Is it open?” he asked. It was.", ["“Is it open?” he asked.", "It was."]),
        ("A row of it\n" * 100, ["A row of it"] * 100),
    ],
)
def test_sentences_are_slices(text: str, sentences: list[str]) -> None:
    found = split_sentences(text)
    assert [sentence.text for sentence in found] == sentences
    assert all(text[sentence.start : sentence.end] == sentence.text for sentence in found)


CLAUSE = "the keeper opens the gate for every boat that has waited at the lower basin since the morning;"
WRAPPED = (
    "the keeper of the lock whether the vote on the\ndues should occur\nevery 1, 2, or 3 years as was said before\n"
)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (f"On request {CLAUSE} " * 8, [5, 3]),
        (WRAPPED * 7 + "in the end.", [1]),
        ("On request the keeper opens the gate " * 30, [1]),
        ("Revenue of the lock in the year before this one\t5,363\t4,869\n" * 20, [1] * 20),
    ],
    ids=["clauses", "wrapped lines", "no boundary", "table"],
)
def test_long_sentences_are_divided_only_where_a_row_or_a_clause_ends(text: str, sentences: list[int]) -> None:
    """The numbers count what each part holds: clauses, or the whole."""
    parts = [sentence.text for sentence in split_sentences(text)]
    assert [max(1, part.count(";")) for part in parts] == sentences
    assert " ".join(" ".join(parts).split()) == " ".join(text.split())


NUMBERS = "In 2017 the dues were 1,234 crowns, in 2018 they were 2,345 crowns, as much as\n"
LINE = "When the gauge reads more than 3.2 metres, the gate of the lock is closed to\n"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (f"{LINE}Westmere. It opens again.", [f"{LINE}Westmere.", "It opens again."]),
        (
            f"The lock was rebuilt in 1958 after the great frost. It is kept by\nHarold. {LINE}Westmere.",
            ["The lock was rebuilt in 1958 after the great frost.", "It is kept by\nHarold."],
        ),
        (f"Dues of the lock 12 13\nDues of boats 4 5\n{LINE}all.", ["Dues of the lock 12 13", "Dues of boats 4 5"]),
        (f"{NUMBERS}Westmere has.", [f"{NUMBERS}Westmere has."]),
    ],
    ids=["full line", "end of a full line", "rows", "full line with numbers"],
)
def test_lines_that_are_not_full_end_a_row(text: str, sentences: list[str]) -> None:
    assert [sentence.text for sentence in split_sentences(text)][: len(sentences)] == sentences


@pytest.mark.parametrize(
    ("text", "firsts"),
    [
        ("It is old. It is red.\n\nIt stays.", [True, False, True]),
        (f"{LINE}all. It is red.\nIt stays.", [True, False, True]),
        (f"Dues of the lock 12 13\nDues of boats 4 5\n{LINE}all.", [True, False, False]),
    ],
    ids=["blank line", "line that is not full", "rows of a table"],
)
def test_beginnings_of_paragraphs(text: str, firsts: list[bool]) -> None:
    assert [sentence.is_first for sentence in split_sentences(text)] == firsts


@pytest.mark.parametrize("text", ["Is it open?", "“Is it open?”", "هل البوابة مغلقة؟", "它开了吗？", "Πότε κλείνει;"])
def test_questions(text: str) -> None:
    assert [sentence.is_question for sentence in split_sentences(text)] == [True]


@pytest.mark.parametrize("text", ["It is open.", "它开了。", "It is red;", "“Is it open?” he asked."])
def test_statements(text: str) -> None:
    assert [sentence.is_question for sentence in split_sentences(text)] == [False]


TEXT = "The gate is shut at high water, and boats wait for the keeper."


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        (f"# The lock\n\n{TEXT}", ["# The lock"]),
        (f"# When is it shut?\n{TEXT}", ["# When is it shut?"]),
        (f"Storms and floods\n\n{TEXT}", ["Storms and floods"]),
        (f"2.1 Storms and Floods\n{TEXT}", ["2.1 Storms and Floods"]),
        (
            f"PART II\n\nItem 7. Results of Operations in 2018\n\n{TEXT}",
            ["PART II", "Item 7. Results of Operations in 2018"],
        ),
        (f"{TEXT}\n\nStorms and Floods", ["Storms and Floods"]),
        (f"Überblick der Schleuse\n\n{TEXT}", ["Überblick der Schleuse"]),
        ("The Book of Storms\n\nhttps://lock.example/storms\n\nOnline since 2014", ["The Book of Storms"]),
        (f"Storms and floods\n{TEXT}", ["Storms and floods"]),
        (f"{TEXT}\nStorms and floods\n{TEXT}\nTolls\n{TEXT}", ["Storms and floods", "Tolls"]),
        (f"Alder Lock\nDues of the Lock 3 4\nTolls\nDues 5 6\n{TEXT}", ["Alder Lock", "Tolls"]),
        (
            "Alder Lock\nIts Boats\nIts Keepers\nIts Dues\nDues in 2018 5,363 4,869",
            ["Alder Lock", "Its Boats", "Its Keepers", "Its Dues"],
        ),
        (f"1. close the paddle\n2. wait until the water is level.\n{TEXT}", []),
        (f"- The key is under the mat\n- The boots are in the hall.\n{TEXT}", []),
        (f"Land of the lock $ 340 $ 348\n{TEXT}", []),
        (f"The Gate Is\nnot shut. {TEXT}", []),
        (f"{TEXT}\n\nthe code is on the door", []),
        (f"Last updated: May 3, 2014\n\n{TEXT}", []),
        (f"Code of the gate 4711\n\n{TEXT}", []),
        ("the key is under the mat\n\nthe boots are in the hall\n\nthe milk is cold", []),
        (f"the key is under the mat\n\nboots are in the hall\n\nthe milk is cold\n\nthe cat is out\n\n{TEXT}", []),
        (f"Keeper Harold Finch\nDeputy John Reese\nMaster Lionel Fusco\nClerk Sameen Shaw\n{TEXT}", []),
        ("Storms and Floods", []),
        (f"# p < 0.05 against the group that was not treated in these years, with {'many ' * 20}others\n\n{TEXT}", []),
    ],
)
def test_headings(text: str, headings: list[str]) -> None:
    assert [sentence.text for sentence in split_sentences(text) if sentence.is_heading] == headings


@pytest.mark.parametrize(
    ("text", "is_continued", "cut"),
    [
        ("of the lock. The gate is shut.", True, ["of the lock."]),
        ("of the lock. The gate is shut.", False, []),
        ("The gate is shut. It opens when the", False, ["It opens when the"]),
        (f"{LINE}all. It opens when the\n7", False, ["It opens when the"]),
        ("The gate is shut. It opens [citation needed]", False, []),
        ("the gate is shut when the", False, []),
        ("The gate is shut. It opens when\n\nthe water falls", False, []),
    ],
)
def test_sentences_at_the_edges_may_be_cut(text: str, is_continued: bool, cut: list[str]) -> None:
    found = split_sentences(text, is_continued=is_continued)
    assert [sentence.text for sentence in found if not sentence.is_whole] == cut
