"""Bring text to one form of Unicode, so that a question finds a text that writes the same letters differently."""

import re
import unicodedata

KEPT = ("<super>", "<sub>", "<fraction>", "<circle>")
"""Kinds of compatibility forms that mean something else than their letters: 10² is not 102."""
INVISIBLE = dict.fromkeys((0x00AD, 0x200B, 0x2060, 0xFEFF))
"""Soft hyphen, zero width space, word joiner, and byte order mark within a text."""
CONTROL_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_]|[ -/]+[0-~])")
"""Colours and other commands to a terminal (ECMA-48)."""

OVERSTRUCK = re.compile(r"_\x08(?=\S)|(\S)\x08(?=\1)")
"""A letter that is printed twice to be bold, or a line under a letter, as in manual pages."""


class _Forms(dict[int, str | None]):
    """Translation of characters, filled as they occur."""

    def __missing__(self, code: int) -> str | None:
        kind, *letters = unicodedata.decomposition(chr(code)).split()[:2] or [""]
        # An accent that stands alone is a space with an accent, by its decomposition.
        is_accent = letters == ["0020"] and unicodedata.category(chr(code))[0] != "Z"
        is_folded = kind.startswith("<") and kind not in KEPT and not is_accent
        self[code] = unicodedata.normalize("NFKC", chr(code)) if is_folded else chr(code)
        return self[code]


_forms = _Forms(INVISIBLE)


def fold(text: str) -> str:
    """Return the text in NFC, without characters that nobody sees, and with compatibility forms as plain letters.

    These are letters of full or half width, presentation forms and ligatures. Superscripts, fractions and accents that
    stand alone stay. Takes time linear in the length of the text.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_forms))


def remove_control_sequences(text: str) -> str:
    """Return the text of a terminal's output without the commands to the terminal, and without overstruck letters."""
    text = OVERSTRUCK.sub("", text) if "\b" in text else text
    return CONTROL_SEQUENCE.sub("", text) if "\x1b" in text else text
