"""Sample documents, and questions whose answers are on known pages."""

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Question:
    """A question, and the document and page (counted from 1) with its answer."""

    question: str
    document: str
    page: int


def list_documents() -> list[Path]:
    """Return the sample files, PDFs first."""
    return sorted(
        (file for file in FOLDER.iterdir() if file.suffix in {".pdf", ".md", ".html"}),
        key=lambda file: (file.suffix != ".pdf", file.name),
    )


def list_questions() -> list[Question]:
    """Return the questions about the sample files."""
    return [Question(**row) for row in json.loads((FOLDER / "questions.json").read_text())]
