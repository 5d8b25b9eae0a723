"""Numbers of list items in the forms of Word, PowerPoint and browsers."""

import pytest

from pipeline.stages.extract.counting import format_number


@pytest.mark.parametrize(
    ("form", "numbers", "texts"),
    [
        ("decimal", [0, 1, 12], "0 1 12"),
        ("decimalZero", [0, 7, 12], "00 07 12"),
        ("lowerLetter", [1, 26, 27, 130, 131], "a z aa zzzzz 131"),
        ("upperRoman", [4, 1999, 4000], "IV MCMXCIX 4000"),
        ("ordinal", [1, 2, 3, 11, 22, 113], "1st 2nd 3rd 11th 22nd 113th"),
        ("cardinalText", [1, 20, 45, 100], "One Twenty Forty-five 100"),
        ("ordinalText", [1, 4, 20, 32], "First Fourth Twentieth Thirty-second"),
        ("hebrew1", [1, 15, 16, 25, 116], "א טו טז כה קטז"),
        ("hebrew2", [2, 22, 23], "ב ת אא"),
        ("arabicAlpha", [1, 2, 28], "أ ب ي"),
        ("russianLower", [1, 29], "а я"),
        ("chineseCounting", [1, 10, 11, 20, 105, 110, 2024], "一 十 十一 二十 一百零五 一百一十 二千零二十四"),
        ("japaneseCounting", [1, 10, 21, 110, 1003], "一 十 二十一 百十 千三"),
        ("koreanCounting", [1, 10, 22], "일 십 이십이"),
        ("chineseLegalSimplified", [3, 12], "叁 拾贰"),
        ("ideographDigital", [10, 23], "一〇 二三"),
        ("ideographTraditional", [1, 10], "甲 癸"),
        ("aiueoFullWidth", [1, 46], "ア ン"),
        ("ganada", [1, 14], "가 하"),
        ("thaiNumbers", [10], "๑๐"),
        ("thaiLetters", [1, 41], "ก ฮ"),
        ("hindiNumbers", [12], "१२"),
        ("decimalEnclosedCircle", [1, 20, 21], "① ⑳ 21"),
        ("decimalFullWidth", [12], "１２"),
        ("unknown", [3], "3"),
        ("chineseCounting", [-1, 10_000], "-1 10000"),
    ],
)
def test_numbers_are_written_in_their_form(form: str, numbers: list[int], texts: str) -> None:
    assert " ".join(format_number(number, form) for number in numbers) == texts


def test_numbers_in_dashes_and_without_text() -> None:
    assert (format_number(3, "numberInDash"), format_number(3, "none")) == ("- 3 -", "")
