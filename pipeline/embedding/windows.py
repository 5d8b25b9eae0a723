"""Windows: a text that is longer than the model reads is embedded in several parts, each as a text of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer

WORD_LENGTH = 32
"""Maximum number of characters of a word that is not cut. Text without spaces, such as Chinese, is cut at any token."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that the model reads at once."""

    text: str
    """The part, and in the first window all that follows. The model does not read the rest."""
    share: float = 1.0
    """Tokens of the part, as a share of those that the model can read (0.0 to 1.0)."""
    tokens: int = 0
    """Number of tokens that the model reads, or 0 if they are unknown."""


def cut_windows(tokenizer: Tokenizer, texts: Sequence[str], prompt: str, heading: str) -> list[list[Window]]:
    """Return the windows of each text. Together, a model sees every token of the text in them.

    The tokenizer truncates to the length that the model reads, as the model does. The first window is the whole text,
    of which the model reads the beginning. Each further window begins with the heading, with which all texts begin,
    and goes on at the first word that was not read to its end. A heading of more than half a window is not repeated.
    `prompt` is what the model gets before each window.
    """
    windows: list[list[Window]] = [[] for _ in texts]
    repeated = heading if _is_short(tokenizer, prompt + heading) else ""
    unread = dict(enumerate(texts))
    while unread:
        encodings = tokenizer.encode_batch([prompt + text for text in unread.values()])
        rests = {}
        for (index, text), encoding in zip(unread.items(), encodings, strict=True):
            rest = _find_rest(encoding, text, len(prompt), len(repeated))
            windows[index].append(Window(text, _measure_share(tokenizer, encoding), len(encoding.ids)))
            if rest:
                rests[index] = repeated + rest
        unread = rests
    return windows


def group_vectors(vectors: np.ndarray, windows: Sequence[Sequence[Window]]) -> list[np.ndarray]:
    """Return the unit vectors of each text, of shape (windows, dimension). `vectors` are those of all windows in order.

    The vector of a few words says little, and is near to many questions. So a window that is not full gets a part of
    the vector of the window before it, as if the window began earlier.
    """
    ends = np.cumsum([len(parts) for parts in windows])
    grouped = np.split(vectors, ends[:-1]) if windows else []
    return [
        np.stack([own[0], *map(_mix, own, own[1:], parts[1:])]) for own, parts in zip(grouped, windows, strict=True)
    ]


def _mix(before: np.ndarray, own: np.ndarray, window: Window) -> np.ndarray:
    mixed = window.share * own + (1 - window.share) * before
    unit: np.ndarray = mixed / np.linalg.norm(mixed)
    return unit


def _is_short(tokenizer: Tokenizer, beginning: str) -> bool:
    """Return True if the prompt and the heading take at most half a window."""
    return 2 * _measure_share(tokenizer, tokenizer.encode(beginning)) <= 1


def _measure_share(tokenizer: Tokenizer, encoding: Encoding) -> float:
    truncation = tokenizer.truncation
    return len(encoding.ids) / truncation["max_length"] if truncation else 1.0


def _find_rest(encoding: Encoding, window: str, prompt: int, heading: int) -> str:
    """Return what the model does not read of a window, from the beginning of a word.

    `prompt` and `heading` are lengths. The result is empty if the model reads all of the window, or nothing but them.
    """
    if not encoding.overflowing:
        return ""
    unread = encoding.overflowing[0]
    first = unread.special_tokens_mask.index(0)
    position = unread.offsets[first][0] - prompt
    if position <= heading:
        return ""
    earliest = max(heading + 1, position - WORD_LENGTH)
    begins = (begin for begin in range(position, earliest - 1, -1) if window[begin - 1].isspace())
    return window[next(begins, position) :]
