"""Texts of many kinds and languages. They show whether an engine computes the vectors of the reference."""

from pathlib import Path

FILE = Path(__file__).with_name("sample.txt")
PASSAGE_LINES = 7
"""Number of lines of a passage: about as many tokens as a chunk has."""


def read_lines() -> list[str]:
    """Return the texts, each of one sentence or a few."""
    return FILE.read_text(encoding="utf-8").splitlines()


def make_passages() -> list[str]:
    """Return texts as long as a chunk, one for each line: the line and those that follow it."""
    lines = read_lines()
    circle = lines + lines
    return [" ".join(circle[start : start + PASSAGE_LINES]) for start in range(len(lines))]
