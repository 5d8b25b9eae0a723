"""Characters of the fonts Symbol and Wingdings, which have pictures and Greek letters in the places of others."""

import re

PRIVATE = re.compile("[\uf020-\uf0ff]")
_SYMBOL = " !∀#∃%&∍()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"  # noqa: RUF001 - letters that look alike
_SYMBOL_HIGH = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪ 〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭"  # noqa: RUF001 - letters that look alike
SYMBOL = {
    **{0x20 + place: character for place, character in enumerate(_SYMBOL)},
    **{0xA0 + place: character for place, character in enumerate(_SYMBOL_HIGH)},
}
WINGDINGS = {
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
    0x9F: "•",
    0xA7: "▪",
    0xA8: "☐",
    0xD8: "➢",
    0xDF: "←",
    0xE0: "→",
    0xE1: "↑",
    0xE2: "↓",
    0xE8: "➔",
    0xF0: "⇨",
    0xFB: "✗",
    0xFC: "✓",
    0xFD: "☒",
    0xFE: "☑",
}
WINGDINGS_2 = {0x4F: "✗", 0x50: "✓", 0x51: "☒", 0x52: "☑", 0x53: "☒", 0x54: "☒", 0xA3: "☐"}
FONTS = {"symbol": SYMBOL, "wingdings": WINGDINGS, "wingdings 2": WINGDINGS_2}


def read_symbol(font: str, code: str) -> str:
    """Return the character with a hexadecimal code in a font, or an empty string if it is unknown."""
    try:
        value = int(code, 16) if len(code) <= 6 else 0
    except ValueError:
        return ""
    table = FONTS.get(font.lower())
    if table is not None:
        return table.get(value & 0xFF, "")
    is_shown = 0x20 <= value < 0x110000 and not 0xD800 <= value < 0xF900
    return chr(value) if is_shown else ""


def replace_symbols(text: str, font: str) -> str:
    """Replace characters of the private area that are written in a symbol font."""
    table = FONTS.get(font.lower()) if PRIVATE.search(text) else None
    if table is None:
        return text
    return PRIVATE.sub(lambda found: table.get(ord(found[0]) & 0xFF, ""), text)
