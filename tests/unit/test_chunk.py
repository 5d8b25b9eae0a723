import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.chunk import CHUNK_CHARACTERS, split_page
from pipeline.types import PageText

words = st.text(alphabet="abcdé日\u0301 .\n\t#-|", max_size=6000)


@settings(max_examples=60, deadline=None)
@given(words, st.integers(0, 10_000))
def test_chunks_are_slices_and_nothing_is_lost(text: str, start: int) -> None:
    check(text, start)


def check(text: str, start: int) -> None:
    chunks = list(split_page(PageText(number=3, start=start, text=text)))
    covered: set[int] = set()
    for chunk in chunks:
        offset = chunk.start - start
        assert chunk.page == 3
        assert text[offset : offset + len(chunk.text)] == chunk.text
        assert 0 < len(chunk.text) <= CHUNK_CHARACTERS
        covered.update(range(offset, offset + len(chunk.text)))
    assert all(index in covered for index, char in enumerate(text) if not char.isspace())


def test_page_without_text_has_no_chunks() -> None:
    assert list(split_page(PageText(number=1, start=0, text=" \n\f"))) == []


def test_cuts_fall_between_sentences() -> None:
    text = " ".join(f"Sentence number {number} ends here." for number in range(200))
    chunks = list(split_page(PageText(number=1, start=0, text=text)))
    assert len(chunks) > 1
    assert all(chunk.text.endswith("here.") and chunk.text.startswith("Sentence") for chunk in chunks)


UNITS = {
    "one token": "x",
    "newlines": "\n",
    "blanks": " ",
    "quotes": "> ",
    "long words": "x" * 1600 + " ",
    "combining": "\u0301",
    "thai": "\u0e01\u0e33",
    "hangul": "\u1100\u1161",
    "emoji": "\U0001f469\u200d",
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", UNITS)
def test_long_texts_without_a_place_to_cut(name: str) -> None:
    """The splitter alone needs the square of their length; in pieces it is a second or two."""
    check(UNITS[name] * (2_000_000 // len(UNITS[name])), 0)


def test_lists_as_deep_as_a_chunk_is_long() -> None:
    check("".join(" " * (2 * (number % 500)) + "- item\n" for number in range(1000)), 0)
