"""Characters of fonts such as Symbol and Wingdings, which have pictures and Greek letters in the places of others."""

_SYMBOL = " !∀#∃%&∍()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"  # noqa: RUF001 - letters that look alike
_SYMBOL_HIGH = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪ 〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭"  # noqa: RUF001 - letters that look alike
_CIRCLED = "⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿"
_ARROWS = "←→↑↓↖↗↙↘"


def _number(first: int, characters: str) -> dict[int, str]:
    """Return characters by their codes, which follow each other."""
    return dict(enumerate(characters, first))


SYMBOL = {**_number(0x20, _SYMBOL), **_number(0xA0, _SYMBOL_HIGH)}
WINGDINGS = {
    0x20: " ",
    0x21: "✏",
    0x22: "✂",
    0x28: "☎",
    0x2A: "✉",
    0x46: "☞",
    0x4A: "☺",
    0x4C: "☹",
    0x6C: "●",
    0x6E: "■",
    0x6F: "☐",
    0x71: "❑",
    0x75: "◆",
    0x76: "❖",
    0x77: "⬥",
    **_number(0x80, _CIRCLED),
    0x9F: "•",
    0xA1: "○",
    0xA7: "▪",
    0xA8: "☐",
    0xAB: "★",
    0xD8: "➢",
    **_number(0xDF, _ARROWS),
    **_number(0xE7, _ARROWS),
    0xE8: "➔",
    **_number(0xEF, "⇦⇨⇧⇩⬄⇳"),
    0xFB: "✗",
    0xFC: "✓",
    0xFD: "☒",
    0xFE: "☑",
}
WINGDINGS_2 = {0x20: " ", **_number(0x4F, "✗✓☒☑☒☒"), **_number(0x69, _CIRCLED), 0xA3: "☐"}
WINGDINGS_3 = {0x20: " ", **_number(0x66, _ARROWS), **_number(0x70, "▲▼△▽◀▶◁▷"), 0x7C: "◀", 0x7D: "▶"}
WEBDINGS = {0x20: " ", **_number(0x33, "◀▶▲▼"), 0x61: "✔", 0x63: "☐", 0x67: "■", 0x6E: "●", 0x72: "✖"}
PRIVATE = 0xF000
"""Offset of the characters of such a font in the private area of Unicode, where Word writes them."""
FONTS = {
    name: {offset + code: table.get(code, "") for offset in (0, PRIVATE) for code in range(0x20, 0x100)}
    for name, table in (
        ("symbol", SYMBOL),
        ("wingdings", WINGDINGS),
        ("wingdings 2", WINGDINGS_2),
        ("wingdings 3", WINGDINGS_3),
        ("webdings", WEBDINGS),
    )
}
"""What the characters of each font show. Pictures that Unicode lacks, or that say nothing, are empty strings."""


def read_symbol(font: str, code: str) -> str:
    """Return the character with a hexadecimal code in a font, or an empty string if it is unknown."""
    try:
        value = int(code, 16) if len(code) <= 6 else 0
    except ValueError:
        return ""
    table = FONTS.get(font.lower())
    if table is not None:
        return table.get(value, "")
    is_shown = 0x20 <= value < 0x110000 and not 0xD800 <= value < 0xF900
    return chr(value) if is_shown else ""


def replace_symbols(text: str, font: str) -> str:
    """Return the text as a font shows it: `ü` in Wingdings is a check mark."""
    table = FONTS.get(font.lower()) if font else None
    return text if table is None else text.translate(table)
