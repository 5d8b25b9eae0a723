"""Languages of texts: how their words are stemmed, which are stop words, and which language a text has.

The names of the languages are those of the text search configurations of PostgreSQL.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import Stemmer

from pipeline.stages.words.split import Kind, Word

NO_STEMS = "simple"
"""Name of the language whose words are not stemmed, and that has no stop words."""
LANGUAGES = (
    "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german", "greek",
    "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "portuguese",
    "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish",
)  # fmt: skip
"""Languages whose words are stemmed, by Snowball."""

_STOP_WORDS = Path(__file__).with_name("stop_words.txt")
"""A line for each language: stop words of the Snowball project, as PostgreSQL has them, and ours for Arabic, Greek and
Hindi, for which it has none."""
_LEAST_WORDS = 20
"""Number of words below which stop words do not tell the language."""
_LEAST_SHARE = 0.1
"""Share of the words of a text that must be stop words of a language. Prose has 0.3 to 0.5."""
_LEAST_DIFFERENT = 3
"""Number of different stop words that tell a language. One word may mean something else in another language."""
_SCRIPTS = {
    "ARABIC": ("arabic",),
    "ARMENIAN": ("armenian",),
    "CYRILLIC": ("russian", "serbian"),
    "DEVANAGARI": ("hindi", "nepali"),
    "GREEK": ("greek",),
    "TAMIL": ("tamil",),
}
"""Languages of scripts, the most frequent one first. They are told by their letters, however short the text is."""
_OWN_LETTERS = {
    "hungarian": frozenset("őű"),
    "lithuanian": frozenset("ėįų"),
    "romanian": frozenset("țţ"),
    "turkish": frozenset("ğı"),
}
"""Latin letters that no other of the languages has. Short texts in these languages have few stop words."""
_LEAST_OWN = 0.1
"""Share of the words of a text that must have such a letter. Names in texts of other languages have some, too."""


def stem(word: str, language: str) -> str:
    """Return the stem of a word without upper case."""
    if language == NO_STEMS:
        return word
    # A new one for each call, because several threads must not share it. To make one takes less than a microsecond.
    stemmed: str = Stemmer.Stemmer(language, 0).stemWord(word)
    return stemmed


def get_stop_words(language: str) -> frozenset[str]:
    """Return words that are so frequent in a language that nobody searches for them."""
    return _read_stop_words().get(language, frozenset())


def tell_language(texts: Iterable[Iterable[Word]], default: str) -> str:
    """Return the language that most words of a document's texts belong to, or `default` if that is not clear.

    Languages are told by letters of their own, by their stop words, or by their script. If the default has no stems, no
    language has.
    """
    if default == NO_STEMS:
        return default
    words = [word.text for text in texts for word in text if word.kind == Kind.PLAIN]
    # A single letter is rather the name of something than a word.
    words = [word for word in words if not word.isdecimal() and (len(word) > 1 or not word.isascii())]
    if language := _find_own_letters(words):
        return language
    if len(words) >= _LEAST_WORDS:
        counted = Counter(words)
        found = {name: stops & counted.keys() for name, stops in _read_stop_words().items()}
        known = {name: sum(map(counted.__getitem__, stops)) for name, stops in found.items()}
        best = max(known, key=lambda name: (known[name], name == default))
        if known[best] >= _LEAST_SHARE * len(words) and len(found[best]) >= _LEAST_DIFFERENT:
            return best
    scripts = Counter(unicodedata.name(word[0], "").split(" ")[0] for word in words)
    script = next((script for script, number in scripts.items() if number > len(words) / 2), "")
    languages = _SCRIPTS.get(script, (default,))
    return default if default in languages else languages[0]


def _find_own_letters(words: Sequence[str]) -> str | None:
    """Return the language if more than a few words have a letter that only this language has."""
    for language, own in _OWN_LETTERS.items():
        number = sum(not own.isdisjoint(word) for word in words)
        if number >= _LEAST_DIFFERENT and number >= _LEAST_OWN * len(words):
            return language
    return None


@cache
def _read_stop_words() -> dict[str, frozenset[str]]:
    lines = _STOP_WORDS.read_text(encoding="utf-8").splitlines()
    return {name: frozenset(words.split()) for name, words in (line.split(": ", 1) for line in lines)}
