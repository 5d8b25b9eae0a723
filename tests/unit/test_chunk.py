from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.chunk import CHUNK_CHARACTERS, split_page
from pipeline.types import PageText

MEDIA_TYPES = ("text/plain", "text/markdown")
words = st.text(alphabet="abcdé日\u0301 .\n\t#-|", max_size=6000)


@settings(max_examples=60, deadline=None)
@given(words, st.sampled_from(MEDIA_TYPES), st.integers(0, 10_000))
def test_chunks_are_slices_and_nothing_is_lost(text: str, media_type: str, start: int) -> None:
    chunks = list(split_page(PageText(number=3, start=start, text=text), media_type))
    covered: set[int] = set()
    for chunk in chunks:
        offset = chunk.start - start
        assert chunk.page == 3
        assert text[offset : offset + len(chunk.text)] == chunk.text
        assert 0 < len(chunk.text) <= CHUNK_CHARACTERS
        covered.update(range(offset, offset + len(chunk.text)))
    assert all(index in covered for index, char in enumerate(text) if not char.isspace())


def test_page_without_text_has_no_chunks() -> None:
    assert list(split_page(PageText(number=1, start=0, text=" \n\f"), "text/plain")) == []


def test_cuts_fall_between_sentences() -> None:
    text = " ".join(f"Sentence number {number} ends here." for number in range(200))
    chunks = list(split_page(PageText(number=1, start=0, text=text), "text/plain"))
    assert len(chunks) > 1
    assert all(chunk.text.endswith("here.") and chunk.text.startswith("Sentence") for chunk in chunks)
