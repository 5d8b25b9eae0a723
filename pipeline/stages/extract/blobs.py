"""Binary data inside of texts, such as pictures in base64 (RFC 4648). It has no words."""

import re
from collections.abc import Iterator

DATA_URI = re.compile(r"data:(?:image|font|audio|video|application)/[\w.+-]{1,80}[\w;=.+-]{0,200},[\w+/=%.~!*-]*", re.A)
WORDS = re.compile(r"(?:[^\w+/=-]++|[\w+/=-]{1,59}+(?![\w+/=-]))*+", re.ASCII)
"""Text without long runs of the characters of base64. Runs that are shorter than a line of mail are words."""
RUN = re.compile(r"[\w+/=-]{60,}+(?P<lines>(?:\n[\w+/=-]{60,}+)+(?:\n[\w+/]*+=*+)?)?", re.ASCII)
"""A long run, which may go on in lines as in mail and certificates."""
FEWEST_CHARACTERS = 200
"""Shortest run in one line that is left out, in characters. No word, path or key of ordinary length is as long."""
FEWEST_CHANGES = 8
"""Upper and lower case alternate in base64 at least every so many characters on average. In words they do not."""
SAMPLE_CHARACTERS = 2000
CHANGE = re.compile(r"[a-z][A-Z]|[A-Z][a-z]")


def leave_out_blobs(text: str) -> str:
    """Return the text without data URIs and base64."""
    return "".join(_keep_words(DATA_URI.sub("", text)))


def _keep_words(text: str) -> Iterator[str]:
    start = position = 0
    while run := RUN.search(text, _skip_words(text, position)):
        if _is_blob(run):
            yield text[start : run.start()]
            start = run.end()
        position = run.end()
    yield text[start:]


def _skip_words(text: str, position: int) -> int:
    found = WORDS.match(text, position)
    return found.end() if found else position


def _is_blob(run: re.Match[str]) -> bool:
    is_long = len(run[0]) >= FEWEST_CHARACTERS or bool(run["lines"])
    sample = run[0][:SAMPLE_CHARACTERS]
    return is_long and len(CHANGE.findall(sample)) * FEWEST_CHANGES > len(sample)
