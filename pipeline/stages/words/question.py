"""Split a question into words to search for. Each is asked for in several forms, one of which must match.

The forms depend on the languages of an owner's documents. Here they are found for all languages, and the database
chooses, because it knows the owner's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.stages.words.languages import LANGUAGES, NO_STEMS, get_stop_words
from pipeline.stages.words.lexemes import make_forms
from pipeline.stages.words.split import Kind, Word, split

_LEAST_STOP_WORDS = 2
"""Number of different stop words that tell the language of a question."""
_ALL_LANGUAGES = (NO_STEMS, *LANGUAGES)
_EVERY_LANGUAGE = " ".join(_ALL_LANGUAGES)
_CONDITION = re.compile(
    r"""(?P<phrase>(?<!\w)(?P<no_phrase>-?)["\u201c](?P<words>[^"\u201c\u201d]*\w[^"\u201c\u201d]*)["\u201d])"""
    r"""|(?P<no_word>(?<!\S)-(?P<word>[^\W\d_]\S*))"""
)
_SHORT_YEAR = re.compile(r"\b(?:[FC]Y\s?['\u2019]?|[QH][1-4]\s?['\u2019])(\d\d)\b", re.ASCII | re.IGNORECASE)
"""A year of two digits after an abbreviation of a year, a quarter or a half."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a word or a condition, as a text search query, and the languages in which it is asked for."""

    number: int
    """Number of the word or the condition, from 0."""
    lexeme: str
    """The form as it is stored. Empty if it is a condition."""
    query: str
    languages: str
    """Names of the languages, with spaces between."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A phrase that a passage must have, or must not have."""

    forms: tuple[Form, ...]
    is_excluded: bool


@dataclass(frozen=True, slots=True)
class Question:
    """A question as words, of which some should match, and conditions, which all must be met."""

    words: tuple[Form, ...] = ()
    conditions: tuple[Condition, ...] = ()
    text: str = ""
    """The question without excluded words."""


def parse(text: str) -> Question:
    """Return the words of a question, without those after a minus, and its conditions.

    `"annual report"` is a phrase that must match in order. `-draft` excludes passages with this word.
    `FY18` and `Q2'18` also ask for 2018.
    """
    found = list(_CONDITION.finditer(text))
    kept = _CONDITION.sub(lambda match: "" if _is_excluded(match) else match.group(), text)
    words = tuple(_find_words(split(_add_years(kept))))
    if not words:
        return Question(tuple(_find_words(split(_add_years(text)))), text=text)
    conditions = (
        Condition(tuple(_find_phrase(number, split(match["words"] or match["word"]))), _is_excluded(match))
        for number, match in enumerate(found)
    )
    return Question(words, tuple(condition for condition in conditions if condition.forms), kept)


def _add_years(question: str) -> str:
    return " ".join((question, *(f"20{year}" for year in _SHORT_YEAR.findall(question))))


def _is_excluded(match: re.Match[str]) -> bool:
    return bool(match["no_word"] or match["no_phrase"])


def _find_words(words: Sequence[Word]) -> Iterator[Form]:
    """Yield the forms of each word once. Without other words, the stop words of the question's language are kept.

    In documents of other languages they would be rare words, and count much.
    """
    asked = dict.fromkeys((word.text, word.kind) for word in words if word.kind != Kind.DETAIL)
    stop_words = _find_stop_words({text for text, _ in asked})
    kept = [(text, kind) for text, kind in asked if text not in stop_words]
    for number, (text, kind) in enumerate(kept or asked):
        for languages, forms in _find_forms(text, kind):
            for form in forms:
                yield Form(number, form, _quote(form, kind), languages)


def _find_stop_words(words: set[str]) -> set[str]:
    """Return the words that are stop words in the language that has most of them. Too few do not tell a language."""
    found = max((words & get_stop_words(language) for language in LANGUAGES), key=len)
    return found if len(found) >= _LEAST_STOP_WORDS else set()


def _find_phrase(number: int, words: Sequence[Word]) -> Iterator[Form]:
    """Yield the phrase in each language in which it has a word."""
    first_at_place = {word.place: word for word in reversed(words) if word.kind in (Kind.PLAIN, Kind.PAIR)}
    phrase = [(place, word.kind, _find_forms(word.text, word.kind)) for place, word in sorted(first_at_place.items())]
    is_same = all(kind == Kind.PAIR for _, kind, _ in phrase)
    queries: dict[str, list[str]] = {}
    for language in (NO_STEMS,) if is_same else _ALL_LANGUAGES:
        parts: list[str] = []
        last = 0
        for place, kind, found in phrase:
            forms = next((forms for names, forms in found if kind == Kind.PAIR or language in names.split()), ())
            if forms:
                any_of = " | ".join(_quote(form, kind) for form in forms)
                parts.append(f" <{place - last}> ({any_of})" if parts else f"({any_of})")
                last = place
        if parts:
            queries.setdefault("".join(parts), []).append(language)
    for query, languages in queries.items():
        yield Form(number, "", query, _EVERY_LANGUAGE if is_same else " ".join(languages))


def _quote(form: str, kind: Kind) -> str:
    """Return a text search query for a form. No form has a quotation mark or a backslash."""
    is_prefix = kind == Kind.PAIR and len(form) == 1
    return f"'{form}':*" if is_prefix else f"'{form}'"


@lru_cache(maxsize=4_000)
def _find_forms(text: str, kind: Kind) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the different forms of a word, each with the languages in which it has them."""
    if kind != Kind.PLAIN:
        return ((_EVERY_LANGUAGE, (text,)),)
    languages: dict[tuple[str, ...], list[str]] = {}
    for language in _ALL_LANGUAGES:
        languages.setdefault(make_forms(text, language), []).append(language)
    return tuple((" ".join(names), forms) for forms, names in languages.items() if forms)
