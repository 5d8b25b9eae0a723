"""What the parent of an extraction believes of its child, and what the child may do."""

import os
import subprocess
import sys
import tempfile
from contextlib import aclosing
from pathlib import Path

import pytest

from pipeline.errors import IngestionError
from pipeline.sandbox import run_reader
from pipeline.stages.extract.frames import Limits

pytestmark = pytest.mark.anyio

LIMITS = Limits(seconds=5, memory_bytes=512 * 1024 * 1024, pages=10, characters=1000)


async def read(program: str) -> list[str]:
    with tempfile.TemporaryFile() as file:
        async with aclosing(run_reader(("-c", program), file, LIMITS)) as extracted:
            return [page.text async for page in extracted]


@pytest.mark.parametrize("text", ["", "x" * 500], ids=["endless pages", "endless text"])
async def test_child_that_never_ends_is_cut(text: str) -> None:
    program = f"""
import sys
from pipeline.stages.extract.frames import Page, encode
while True:
    sys.stdout.buffer.write(encode(Page(text={text!r}, pages=1)))
"""
    with pytest.raises(IngestionError) as error:
        await read(program)
    assert error.value.code == "too_large"


@pytest.mark.parametrize("said", [b"rubbish of some length", b"\xff" * 100, b"\0\0\0\5rubbi", b""])
async def test_child_that_talks_rubbish_is_a_broken_file(said: bytes) -> None:
    with pytest.raises(IngestionError) as error:
        await read(f"import sys; sys.stdout.buffer.write({said!r})")
    assert error.value.code == "malformed"


async def test_child_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "a secret")
    program = """
import os, sys
from pipeline.stages.extract.frames import Done, Page, encode
sys.stdout.buffer.write(encode(Page(text=" ".join(os.environ), pages=1)) + encode(Done()))
"""
    [names] = await read(program)
    assert set(names.split()) <= {"LANG", "LC_CTYPE", "PATH", "PYTHONDONTWRITEBYTECODE"}


def test_child_starts_no_process() -> None:
    program = """
import os, sys
from pipeline.stages.extract.__main__ import _apply
from pipeline.stages.extract.frames import Limits
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
_apply(Limits(seconds=5, memory_bytes=2**30, pages=1, characters=1))
try:
    os.fork()
except BlockingIOError:
    sys.exit(42)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    assert done.returncode == 42
