"""Lexemes of a text, in the form in which PostgreSQL reads a `tsvector`.

A lexeme is the stem of a word, at its place, and beside it the stem without accents if that differs. Stop words have
places but no lexemes, as in PostgreSQL's own configurations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.stages.words.languages import get_stop_words, stem, tell_language
from pipeline.stages.words.split import Kind, Word, fold_accents, split

VERSION = 2
"""Version of the rules for words and headings. If it is raised, workers renew those of all stored texts."""
_TEXTS_READ = 20
"""Number of texts of a document from which its language is told."""
LAST_PLACE = 16383
"""Last place that PostgreSQL tells apart from later ones."""
_STEMMED = frozenset((Kind.PLAIN, Kind.DETAIL))

MOST_PLACES = 255
"""Number of places of a lexeme that PostgreSQL keeps."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """The lexemes of the texts of a document, and its language."""

    language: str
    lexemes: list[str]


def index_all(texts: Sequence[str], default: str) -> Indexed:
    """Return the lexemes of the texts of a document, in its language, or in `default` if that cannot be told."""
    step = -(-len(texts) // _TEXTS_READ) or 1
    sample = {number: split(texts[number]) for number in range(0, len(texts), step)}
    language = tell_language(sample.values(), default)
    # To keep the words of all texts would take much memory.
    words = (sample[number] if number in sample else split(text) for number, text in enumerate(texts))
    return Indexed(language, [_write(one, language) for one in words])


def index(text: str, language: str) -> str:
    """Return the lexemes of a text in a language, as `'order':1,7 're-2026-00815':2`."""
    return _write(split(text), language)


def _write(words: Sequence[Word], language: str) -> str:
    places: dict[str, list[int]] = {}
    for lexeme, place in _find_lexemes(words, language):
        found = places.setdefault(lexeme, [])
        if len(found) < MOST_PLACES:
            found.append(min(place, LAST_PLACE))
    # No lexeme has a quotation mark or a backslash, because no word has one.
    return " ".join(f"'{lexeme}':{','.join(map(str, found))}" for lexeme, found in places.items())


@lru_cache(maxsize=30_000)
def find_forms(word: str, language: str) -> tuple[str, ...]:
    """Return the forms of a word of a text, as `make_forms`, and remember them."""
    return make_forms(word, language)


def make_forms(word: str, language: str) -> tuple[str, ...]:
    """Return the stem of a word, and its stem without accents if that differs.

    A stop word has none, nor has a word that is nothing but an ending.
    """
    if word in get_stop_words(language):
        return ()
    exact = stem(word, language)
    plain = fold_accents(word)
    forms = (exact, stem(plain, language)) if plain != word else (exact,)
    return tuple(dict.fromkeys(form for form in forms if form))


def _find_lexemes(words: Sequence[Word], language: str) -> Iterator[tuple[str, int]]:
    for text, place, kind in words:
        if kind in _STEMMED:
            for form in find_forms(text, language):
                yield form, place
        else:
            yield text, place
