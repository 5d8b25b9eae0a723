"""Writes `sluice_client/synchronous` from `sluice_client/asynchronous`: `make client`.

The two differ only in their words for waiting, so one of them is written by hand.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).parent / "src" / "sluice_client"
SETTINGS = Path(__file__).parents[1] / "pyproject.toml"
NOTE = "# Written by client/make_synchronous.py from sluice_client/asynchronous. Change that file instead.\n"
REPLACEMENTS = (
    (r"Awaitable\[([\w.]+)\]", r"\1"),
    (r", Awaitable\b|\bAwaitable, ", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\basync (?=def|for|with)", ""),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\ba(iter|next)\(", r"\1("),
    (r"\ba(close|read)\b", r"\1"),
    (r"\basynchronous\b", "synchronous"),
    (r"\basyncio\.Lock\b", "threading.Lock"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"^import asyncio$", "import threading\nimport time"),
    (r'^"""The client for asyncio\..*', '"""The client without asyncio."""'),
)


def translate(source: str) -> str:
    """Return the synchronous form of a module."""
    for pattern, replacement in REPLACEMENTS:
        source = re.sub(pattern, replacement, source, flags=re.MULTILINE)
    return NOTE + source


def make() -> dict[Path, str]:
    """Return the files of `synchronous` and what they should contain."""
    with tempfile.TemporaryDirectory() as folder:
        for file in (PACKAGE / "asynchronous").glob("*.py"):
            (Path(folder) / file.name).write_text(translate(file.read_text()))
        for options in (["check", "--quiet", "--fix", "--select", "I,F401"], ["format", "--quiet"]):
            subprocess.run([sys.executable, "-m", "ruff", *options, "--config", str(SETTINGS), folder], check=True)
        return {PACKAGE / "synchronous" / file.name: file.read_text() for file in Path(folder).glob("*.py")}


if __name__ == "__main__":
    for path, content in make().items():
        path.write_text(content)
