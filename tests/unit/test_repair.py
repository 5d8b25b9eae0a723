import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.normalize import fold
from pipeline.stages.repair import repair


@pytest.mark.parametrize(
    ("extracted", "repaired"),
    [
        ("an inter-\nnational port", "an international port"),
        ("develop- \n  ment", "development"),
        ("the pan-\ndemic of 1918", "the pandemic of 1918"),
        ("die Schleu-\nse", "die Schleuse"),
        ("hyphen\u2010\nation", "hyphenation"),
        ("a long-\nterm lease", "a long-term lease"),
        ("divestiture-\nrelated", "divestiture-related"),
        ("Tax-\nRelated", "Tax-Related"),
        ("COVID-\n19, 2018-\n2019", "COVID-19, 2018-2019"),
        ("state-of-\nthe-\nart", "state-of-the-art"),
        ("soft\u00adware, hard\u00ad\nware, firm\u00ad ware", "software, hardware, firm ware"),
        ("\ufb01nd the in\ufb02u-\nenza", "find the influenza"),
        ("10\u00b2 \u00bd \u2122 e\u0301", "10\u00b2 \u00bd \u2122 \u00e9"),
        ("a  b\u00a0\u00a0c\t\td\n\n  e", "a b c d\n\n e"),
        ("- one\n- two -\nthree\n-\nfour-\n\nfive", "- one\n- two -\nthree\n-\nfour-\n\nfive"),
        (" \u00ad hidden", " hidden"),
        ("", ""),
    ],
)
def test_traces_of_typesetting_are_removed(extracted: str, repaired: str) -> None:
    assert repair(extracted) == repaired


texts = st.lists(st.sampled_from([*"abX1- \n\t\u00a0\u00ad\ufb01日\u2010", "inter", "national", "e\u0301", "-\n"])).map(
    "".join
)


@settings(max_examples=500, deadline=None)
@given(texts)
def test_letters_and_lines_stay(text: str) -> None:
    repaired = repair(text)
    assert letters(repaired) == letters(fold(text))
    assert repaired.count("\n") <= text.count("\n")
    assert repair(repaired) == repaired


def letters(text: str) -> str:
    return "".join(char for char in text if not char.isspace() and char not in "-\u2010\u00ad")


@pytest.mark.timeout(8)
@pytest.mark.parametrize("unit", ["a", "a-\n", "- ", " ", "\u00ad ", "\n", "1-\n", "ab-\u00ad"])
def test_long_texts_take_linear_time(unit: str) -> None:
    assert repair(unit * (250_000 // len(unit))) is not None
