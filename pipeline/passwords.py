"""What counts as the same password, and which passwords are refused because everybody tries them first."""

import unicodedata
from functools import cache
from pathlib import Path

COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.txt")
"""The most common passwords of at least 8 characters, in lower case."""


def normalize(password: str) -> str:
    """Return the form that is hashed (NFKC). Keyboards and systems write the same letters in different ways."""
    return unicodedata.normalize("NFKC", password)


def is_common(password: str) -> bool:
    """Return whether a normalized password is one of the most common ones, in upper or lower case."""
    return password.casefold() in _read_common_passwords()


@cache
def _read_common_passwords() -> frozenset[str]:
    return frozenset(normalize(COMMON_PASSWORDS.read_text("utf-8")).split())
