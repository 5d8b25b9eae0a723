"""Warnings about the text of a document."""

from pipeline.ingest.store import collect_warnings
from pipeline.types import DocumentWarning, PageText, PageWarning, WarningCode

GUESSED = PageWarning(WarningCode.CHARSET_GUESSED, "Guessed.")
SKIPPED = PageWarning(WarningCode.PARTS_SKIPPED, "Skipped.")


def test_warnings_about_several_pages_are_joined() -> None:
    pages = [
        PageText(number, 0, [""], warnings)
        for number, warnings in enumerate([[GUESSED], [GUESSED, SKIPPED], [SKIPPED, GUESSED], [GUESSED]], start=1)
    ]
    assert collect_warnings(pages) == [
        DocumentWarning(GUESSED.code, GUESSED.message, None),
        DocumentWarning(SKIPPED.code, SKIPPED.message, [2, 3]),
    ]
    assert collect_warnings([PageText(1, 0, [""])]) == []
