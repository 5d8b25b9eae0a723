"""Split a text into words.

Scripts without spaces have no words that a pattern could find. Their characters become overlapping pairs (bigrams).
"""

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

import regex

from pipeline.stages.normalize import fold

LONGEST_WORD = 100
"""Number of characters of a word that are kept. Longer words are rarely words, and PostgreSQL limits lexemes."""

_CONNECTORS = r"-\u2010._/@:+#&"
_ASCII_TOKEN = re.compile(rf"(?P<word>[A-Za-z0-9]+(?:(?:[{_CONNECTORS}]|(?<=[0-9]),(?=[0-9]))[A-Za-z0-9]+)*)")
_PAIRED = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\u3005-\u3007"
_CLUSTERED = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{Nd}}\p{{Nl}}]--[{_PAIRED}{_CLUSTERED}\p{{Hangul}}]]"
_TOKEN = regex.compile(
    rf"(?P<word>{_LETTER}+(?:(?:[{_CONNECTORS}]|(?<=\d),(?=\d)){_LETTER}+)*)"
    rf"|(?P<paired>[{_PAIRED}]+)|(?P<clustered>[{_CLUSTERED}]+)|(?P<hangul>\p{{Hangul}}+)",
    regex.V1,
)
_CLUSTER = regex.compile(r"\X")
_SIGN = re.compile(rf"[{_CONNECTORS},]")
_RUN = re.compile(r"\d+|\D+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_IS_CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")
DOTLESS_I = "\u0131"
_LAST_CYRILLIC = 0x052F
_STROKES = str.maketrans("łđøħŧ", "ldoht")
"""Letters with a stroke. Unicode does not decompose them."""
_OPTIONAL = re.compile("[\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u200c\u200d]")
"""Vowel points of Hebrew and Arabic, the line that stretches Arabic words, and joiners. Most texts do without them."""


class Kind(Enum):
    """How a word is looked up."""

    PLAIN = auto()
    """A word of a language, which can be stemmed."""
    WHOLE = auto()
    """Several words and signs that belong together, as in a number, an address or an identifier."""
    PAIR = auto()
    """Two neighbouring characters of a script without spaces, or a single one without a neighbour."""
    DETAIL = auto()
    """A part that only texts are split into, such as `name` in `userName`. A question asks for the whole."""


class Word(NamedTuple):
    """A word without upper case, and its place in the text."""

    text: str
    place: int
    """Number of the word, from 1. A whole has the place of its first part."""
    kind: Kind = Kind.PLAIN


def split(text: str) -> list[Word]:
    """Return the words of a text, by place.

    Words are letters, marks and digits, as in UAX 29. Letters that differ only in case, width or presentation are the
    same. Takes time linear in the length of the text.
    """
    text = fold(text)
    words: list[Word] = []
    place = 1
    if text.isascii():
        for found in _ASCII_TOKEN.finditer(text):
            place = _add_word(words, found.group(), place)
        return words
    for token in _TOKEN.finditer(_OPTIONAL.sub("", text)):
        token_text = token.group()
        match token.lastgroup:
            case "paired":
                place = _add_pairs(words, list(token_text), place)
            case "clustered":
                place = _add_pairs(words, _CLUSTER.findall(token_text), place)
            case "hangul":
                if len(token_text) > 2:
                    words.append(Word(token_text[:LONGEST_WORD], place, Kind.WHOLE))
                place = _add_pairs(words, list(token_text), place)
            case _:
                place = _add_word(words, token_text, place)
    return words


def fold_accents(word: str) -> str:
    """Return the word without accents on Latin, Greek and Cyrillic letters.

    In other scripts, marks are vowels. The Russian letter й is a letter of its own.
    """
    if word.isascii():
        return word
    return "".join(map(_fold_letter, word)).replace("\u0307", "").translate(_STROKES)


def _fold_letter(letter: str) -> str:
    if letter == "й":
        return letter
    if letter == DOTLESS_I:
        return "i"
    base = unicodedata.normalize("NFD", letter)[0]
    is_folded = ord(base) <= _LAST_CYRILLIC and not unicodedata.combining(letter)
    return base if is_folded else letter


def _add_pairs(words: list[Word], letters: list[str], place: int) -> int:
    """Add each pair of neighbours, and the last character alone. A question for one character then finds it."""
    for number, letter in enumerate(letters):
        pair = letter + (letters[number + 1] if number + 1 < len(letters) else "")
        is_detail = number and number + 1 == len(letters)
        words.append(Word(pair[:LONGEST_WORD], place + number, Kind.DETAIL if is_detail else Kind.PAIR))
    return place + len(letters)


def _add_word(words: list[Word], token: str, place: int) -> int:
    """Add a word, or a whole and its parts. Return the next place."""
    is_camel = _IS_CAMEL.search(token) is not None
    if token.isalpha() and not is_camel:
        words.append(Word(token.casefold()[:LONGEST_WORD], place))
        return place + 1
    parts = _SIGN.split(token)
    if len(parts) > 1:
        whole = token.casefold().replace("\u2010", "-")
        words.append(Word(whole[:LONGEST_WORD], place, Kind.WHOLE))
    for part in parts:
        words.append(Word(part.casefold()[:LONGEST_WORD], place))
        words.extend(_split_part(part, place, is_camel=is_camel))
        place += 1
    return place


def _split_part(part: str, place: int, *, is_camel: bool) -> Iterator[Word]:
    """Yield the words within `userName`, the letters and digits of `FY2018`, and 815 of 00815."""
    if part.isdecimal():
        number = part.lstrip("0")
        if number and number != part:
            yield Word(number[:LONGEST_WORD], place, Kind.DETAIL)
    elif len(runs := _RUN.findall(part)) > 1:
        yield from (Word(run.casefold()[:LONGEST_WORD], place) for run in runs if len(run) > 1)
    elif is_camel:
        names = _CAMEL.findall(part)
        yield from (Word(name.casefold(), place, Kind.DETAIL) for name in names if 1 < len(name) < len(part))
