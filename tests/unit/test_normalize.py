"""One form of Unicode for texts and questions."""

import unicodedata
from typing import Literal

import pytest

from pipeline.stages.normalize import fold, remove_control_sequences
from tests.languages import LANGUAGES


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_all_scripts_have_one_form(name: str, form: Literal["NFC", "NFD"]) -> None:
    text = LANGUAGES[name].text
    assert fold(unicodedata.normalize(form, text)) == fold(text)
    assert unicodedata.is_normalized("NFC", fold(text))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Ｌｏｃｋ　７", "Lock 7"),
        ("ｶﾞｿﾘﾝ", "ガソリン"),
        ("\ufefb \ufe8e\ufedf\ufee0\ufeae\ufe9f", "\u0644\u0627 \u0627\u0644\u0644\u0631\u062c"),
        ("\ufb01nd the o\ufb03ce", "find the office"),
        ("№ Ⅷ ㎏ …", "No VIII kg ..."),
        ("10² H₂O ½ ① ™", "10² H₂O ½ ① ™"),
        ("\u00b4 \u00a8 \u00b8", "\u00b4 \u00a8 \u00b8"),
        ("in\u00advis\u200bi\u2060ble\ufeff", "invisible"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f680",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f680",
        ),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_forms_of_letters_are_folded(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(folded) == folded


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;196mred\x1b[m and \x1b[2Kline", "red and line"),
        ("\x1b]0;title\x07prompt \x1b]8;;http://x\x1b\\link", "prompt link"),
        ("\x1b(Bplain\x1bM", "plain"),
        ("a\x1b", "a\x1b"),
        ("N\bNA\bAME _\ba_\bb\n\bc", "NAME ab\n\bc"),
        ("[31m no escape", "[31m no escape"),
    ],
)
def test_commands_to_terminals_are_no_text(output: str, text: str) -> None:
    assert remove_control_sequences(output) == text


@pytest.mark.timeout(8)
@pytest.mark.parametrize("unit", ["\x1b", "\x1b[", "\x1b]", "\x1b[0", "\x1b( ", "e\u0301", "\u00ad"])
def test_long_texts_take_linear_time(unit: str) -> None:
    text = unit * (250_000 // len(unit))
    assert remove_control_sequences(text) is not None
    assert fold(text) is not None
