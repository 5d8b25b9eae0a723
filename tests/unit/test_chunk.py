import io
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.stages.chunk import CHUNK_CHARACTERS, OVERLAP_CHARACTERS, split_page
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from pipeline.types import PageText, TextChunk

PIECES = [
    *"ab.!?)\n\t#-|<> ",
    *("\n# Title\n", "<h1>Title</h1>", "\n===\n", "\n```\n"),
    *("word ", "End. ", "\n\n", "\r\n", "日本。", "\u05e9\u05dc\u05d5\u05dd ", "\U0001f469\u200d\U0001f680", "e\u0301"),
    *("\u00a0", "\u2028", "\x1c", "\u200b", "\ufffd"),
]


def mix(pieces: list[str], count: int, seed: int) -> str:
    """Return a long text of a few kinds of pieces. Hypothesis alone would make short texts."""
    return "".join(Random(seed).choices(pieces, k=count))


texts = st.builds(mix, st.lists(st.sampled_from(PIECES), min_size=1, max_size=8), st.integers(0, 4000), st.integers())


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, max_size=3), st.integers(0, 10_000))
@example(["x" * 1499 + "。y" * 20], 0)
@example(["x" * 1490 + "\u0301" * 20], 0)
@example(["x" * 800 + "\n" + " " * 110 + "y" * 900], 0)
@example(["x" * 800 + "." + " " * 700 + "Y" * 900], 0)
@example(["word " * 160 + "\n" + "\t" * 250 + "Next line. " + "word " * 200], 0)
def test_chunks_are_slices_and_nothing_is_lost(sections: list[str], start: int) -> None:
    check(sections, start)


def check(sections: list[str], start: int = 0) -> None:
    """Check that every chunk is a slice of one section within the limits, and that no text is lost."""
    text = "".join(sections)
    covered = start
    for chunk in split(sections, start):
        offset = chunk.start - start
        assert chunk.page == 3
        assert text[offset : offset + len(chunk.text)] == chunk.text == chunk.text.strip() != ""
        assert len(chunk.text) <= CHUNK_CHARACTERS
        assert covered - OVERLAP_CHARACTERS <= chunk.start
        assert not text[covered - start : offset].strip()
        covered = chunk.start + len(chunk.text)
    assert not text[covered - start :].strip()


def split(sections: list[str], start: int = 0) -> list[TextChunk]:
    return list(split_page(PageText(number=3, start=start, sections=sections)))


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown", "text/html"])
@settings(max_examples=20, deadline=None)
@given(texts)
def test_every_format_is_cut_without_loss(media_type: str, text: str) -> None:
    [page] = get_format(media_type).readers[0](SourceFile(io.BytesIO(text.encode()))).pages
    check(page.sections)


@given(st.lists(texts, max_size=4))
@settings(max_examples=30, deadline=None)
def test_chunks_do_not_cross_sections(sections: list[str]) -> None:
    alone = [chunk.text for section in sections for chunk in split([section])]
    assert [chunk.text for chunk in split(sections)] == alone


def test_page_without_text_has_no_chunks() -> None:
    assert split([" \n\f"]) == split([]) == split(["", ""]) == []


SENTENCE = "Sentence number 1 has an e.g. in it,\nand ends here."
CUTS = {
    "paragraphs": (f"{SENTENCE} {SENTENCE}\n\n", f"{SENTENCE} {SENTENCE}"),
    "sentences": (f"{SENTENCE} ", SENTENCE),
    "sentences that end lines": (f"{SENTENCE}\n", SENTENCE),
    "questions in quotation marks": ("So “Why is that\nso?” ", "So “Why is that\nso?”"),
    "Chinese": ("この文は短い。", "この文は短い。"),
    "lines": ("Rye, one kilogram 9\n", "Rye, one kilogram 9"),
    "words": ("wordword ", "wordword"),
}


@pytest.mark.parametrize("name", CUTS)
def test_cuts_fall_at_the_best_place(name: str) -> None:
    unit, whole = CUTS[name]
    chunks = split([unit * 300])
    assert len(chunks) > 1
    assert all(chunk.text.startswith(whole) and chunk.text.endswith(whole) for chunk in chunks)
    assert all(len(chunk.text) >= 750 for chunk in chunks[:-1])


def test_paragraph_that_does_not_fit_begins_a_chunk() -> None:
    short, long = "A short sentence. " * 25 + "\n\n", "A longer sentence. " * 70
    assert [chunk.text for chunk in split([short + long])] == [short.strip(), long.strip()]


def test_overlap_begins_with_a_sentence() -> None:
    first, second = split(["A short one. " * 120])
    assert 0 < first.start + len(first.text) - second.start <= OVERLAP_CHARACTERS


@pytest.mark.parametrize("name", ["combining", "joined"])
def test_grapheme_clusters_are_not_split(name: str) -> None:
    unit = {"combining": "e\u0301\u0323", "joined": "\U0001f469\u200d\U0001f680"}[name]
    chunks = [chunk.text.removeprefix("x") for chunk in split(["x" + unit * 2000])]
    assert all(chunk == unit * (len(chunk) // len(unit)) for chunk in chunks)


UNITS = {
    "one token": "x",
    "newlines": "\n",
    "blanks": " ",
    "full stops": ".",
    "long words": "x" * 1600 + " ",
    "blanks between words": "x" + " " * 5000,
    "combining": "\u0301",
    "emoji": "\U0001f469\u200d",
}


@pytest.mark.timeout(8)
@pytest.mark.parametrize("name", UNITS)
def test_long_texts_without_a_place_to_cut(name: str) -> None:
    check([UNITS[name] * (1_000_000 // len(UNITS[name]))])
