"""Files that LibreOffice writes are read completely. Debian's packages: libreoffice-writer-nogui, -calc-, -impress-, -math-."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile
from pipeline.stages.extract.identify import HEAD_BYTES, identify
from tests.integration.test_scripts_of_formats import LINES, write_docx

SOFFICE = shutil.which("soffice")
FOLDER = Path(__file__).resolve().parents[1] / "libreoffice"
SENTENCES = [
    "Opening hours of the lock",
    "The keeper sleeps at noon",
    "Footnote about the winter season",
    "Bring the copper rope",
    "Ring the silver bell",
    "Article Price",
    "Lantern 45 crowns",
    "The last sentence of the document",
]
FIELD, BOX, HEADER, NUMBER, FORMULA = (
    "Written by Alma Reyes in Bonn",
    "Boxed warning about valve seven",
    "Running header of Alder Lock",
    "2. Ring the silver bell",
    "77",
)
SHEET = [
    "Prices of 2026",
    "Article: Lantern",
    "Crowns: 45",
    "Twice: 90",
    "Crowns: 7.5",
    "Keepers",
    "Alma Reyes works in Bonn",
]
SLIDES = ["Rules of Alder Lock", "Lantern", "45 crowns", "The keeper sleeps at noon", "The last slide is short"]

WRITTEN = [
    ("rich.fodt", "docx", [*SENTENCES, FIELD, BOX, HEADER, NUMBER, FORMULA]),
    ("rich.fodt", "odt", [*SENTENCES, FIELD, BOX, HEADER, NUMBER, FORMULA]),
    ("rich.fodt", "rtf", [*SENTENCES, FIELD, BOX, HEADER, NUMBER]),
    ("rich.fodt", "pdf", [*SENTENCES, FIELD, BOX, HEADER, FORMULA]),
    # LibreOffice draws the box and the formula as images.
    ("rich.fodt", "html", [*SENTENCES, FIELD, HEADER, NUMBER]),
    # It writes neither fields nor numbers nor the header.
    ("rich.fodt", "epub", [*SENTENCES, BOX]),
    ("rich.fods", "xlsx", SHEET),
    ("rich.fods", "ods", SHEET),
    ("rich.fods", "xls", SHEET),
    ("rich.fodp", "pptx", [*SLIDES, "Speak slowly about the gate"]),
    ("rich.fodp", "odp", [*SLIDES, "Speak slowly about the gate"]),
    ("rich.fodp", "pdf", SLIDES),
]


def convert(source: Path, extension: str, folder: Path) -> bytes:
    assert SOFFICE
    profile = f"-env:UserInstallation=file://{folder}/profile"
    command = [SOFFICE, profile, "--headless", "--convert-to", extension, "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return (folder / source.name).with_suffix(f".{extension}").read_bytes()


def read(name: str, data: bytes) -> str:
    found = get_format(identify(name, "", data[:HEAD_BYTES])).readers[0](SourceFile(io.BytesIO(data)))
    return " ".join(" ".join("".join(page.sections) for page in found.pages).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, so that LibreOffice makes its profile once."""
    return tmp_path_factory.mktemp("libreoffice")


@pytest.mark.skipif(SOFFICE is None, reason="LibreOffice is not installed")
@pytest.mark.parametrize(
    ("source", "extension", "texts"), WRITTEN, ids=[f"{source} as {to}" for source, to, _ in WRITTEN]
)
def test_documents_of_libreoffice_are_read_completely(
    source: str, extension: str, texts: list[str], folder: Path
) -> None:
    text = read(f"rich.{extension}", convert(FOLDER / source, extension, folder))
    assert [each for each in texts if each not in text] == []


@pytest.mark.skipif(SOFFICE is None, reason="LibreOffice is not installed")
@pytest.mark.parametrize("extension", ["odt", "html"])
def test_ten_scripts_of_libreoffice_come_back_in_their_order(extension: str, folder: Path) -> None:
    source = folder / "scripts.docx"
    source.write_bytes(write_docx())
    words = " ".join(LINES.values()).split()
    text = read(f"scripts.{extension}", convert(source, extension, folder))
    assert [word for word in text.split() if word in words] == words
