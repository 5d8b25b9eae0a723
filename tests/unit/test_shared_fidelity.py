"""The shared corpus of small files that common readers get wrong, if it lies beside the project. It is not part of it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import IngestionError
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from pipeline.stages.extract.identify import HEAD_BYTES, identify
from pipeline.use_cases.uploads import clean_filename

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "fidelity"
MANIFEST = CORPUS / "MANIFEST.json"
NOT_MET = frozenset({"pdf_scrambled_tounicode"})
"""The letters of this file are exchanged. It ends as `no_text`, with a warning, because nobody can read them."""


def list_cases() -> list[dict[str, Any]]:
    """Return the cases that name texts which must come out."""
    cases = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else []
    return [case for case in cases if (case.get("must") or case.get("must_not")) and case["expected"] != "malformed"]


def read(name: str, data: bytes, declared_type: str, charset: str | None) -> str:
    readers = get_format(identify(clean_filename(name), declared_type, data[:HEAD_BYTES])).readers
    for number, reader in enumerate(readers, start=1):
        try:
            pages = reader(SourceFile(io.BytesIO(data), charset)).pages
            return "\f".join("".join(page.sections) for page in pages)
        except IngestionError:
            raise
        except Exception:
            if number == len(readers):
                raise
    raise AssertionError


@pytest.mark.skipif(not MANIFEST.exists(), reason="the shared corpus is not there")
@pytest.mark.parametrize("case", list_cases() or [{"case": "none"}], ids=lambda case: case["case"])
def test_shared_files_are_read_as_people_see_them(case: dict[str, Any]) -> None:
    declared, _, charset = (case["media_type"] or "").partition("; charset=")
    text = read(case["name"], (CORPUS / "files" / case["file"]).read_bytes(), declared, charset or None)
    wrong = [each for each in case["must"] if each not in text] + [each for each in case["must_not"] if each in text]
    assert bool(wrong) == (case["case"] in NOT_MET), wrong
