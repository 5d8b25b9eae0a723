"""The limits of the sandbox: what a child may do, and which of its output is accepted."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import msgspec
import psutil
import pytest
from msgspec.structs import replace

from pipeline import samples
from pipeline.errors import IngestionError
from pipeline.sandbox.pool import Sandbox
from pipeline.sandbox.protocol import PNG_BEGINNING, PNG_END, Limits
from pipeline.stages.extract.format import MAX_SECTIONS
from tests.integration.conftest import wait_for
from tests.processes import PROJECT

pytestmark = pytest.mark.anyio

LIMITS = Limits(seconds=5, memory_bytes=512 * 1024 * 1024, pages=10, characters=10_000)
CRASH = "The file crashes its reader. Open it, save it again and upload the new copy."
PDF = (samples.FOLDER / "alder-lock-handbook.pdf").read_bytes()

READS_PDF = """
import sys
from io import BytesIO
from pipeline.sandbox import preload
from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import SourceFile, make_mark

preload.load()
loaded = set(sys.modules)
data = sys.stdin.buffer.read()
pdf = get_format("application/pdf")
for reader in pdf.readers:
    [text] = next(reader(SourceFile(BytesIO(data))).pages).sections
pdf.draw(BytesIO(data), 1, make_mark(text, 0, 5))
print(sorted(set(sys.modules) - loaded))
"""


async def read(
    sandbox: Sandbox, data: bytes = b"text", media_type: str = "text/plain", limits: Limits = LIMITS
) -> list[str]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        async with aclosing(sandbox.extract(file, media_type, limits)) as extracted:
            return [page.text async for page in extracted]


def make_server(run: str, layers: str = "None") -> tuple[str, str]:
    """Return the arguments of a fork server whose children run this code instead of a reader. They are confined."""
    program = """
        import os, signal, sys
        from pipeline.sandbox.__main__ import main
        from pipeline.sandbox.protocol import Done, Page, encode

        def say(*frames):
            os.write(1, b"".join(map(encode, frames)))

        def run(order):
        {run}

        main(run, {layers})
        """
    body = textwrap.indent(textwrap.dedent(run), "    ")
    return "-c", textwrap.dedent(program).replace("{run}", body).replace("{layers}", layers)


@pytest.fixture(scope="module")
async def hijacked() -> AsyncIterator[Sandbox]:
    """A sandbox that runs each file as a program, as if the file had taken control of its reader."""
    sandbox = Sandbox(make_server("exec(open(0, closefd=False).read())"))
    yield sandbox
    await sandbox.close()


ReadWith = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def read_with(hijacked: Sandbox) -> ReadWith:
    """Reads a file, which is the program of its child."""

    async def read_with(child: str, media_type: str = "text/plain", limits: Limits = LIMITS) -> list[str]:
        return await read(hijacked, textwrap.dedent(child).encode(), media_type, limits)

    return read_with


@pytest.fixture
async def own_sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox whose fork server may be killed."""
    sandbox = Sandbox(kill_seconds=0.5)
    yield sandbox
    await sandbox.close()


def find_server() -> psutil.Process:
    """Return the fork server that was started last; another one serves other tests."""
    servers = [child for child in psutil.Process().children() if "pipeline.sandbox" in child.cmdline()]
    return max(servers, key=psutil.Process.create_time)


@pytest.mark.parametrize(
    ("text", "limits", "code"),
    [("", LIMITS, "malformed"), ("x" * 500, replace(LIMITS, pages=1000, characters=9000), "too_large")],
    ids=["endless pages", "endless text"],
)
async def test_endless_child_is_cut(read_with: ReadWith, text: str, limits: Limits, code: str) -> None:
    with pytest.raises(IngestionError) as error:
        await read_with(f"while True: say(Page(sections=[{text!r}], pages={limits.pages}))", limits=limits)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("pages", "sections", "code"), [(1, MAX_SECTIONS + 1, "malformed"), (3, MAX_SECTIONS // 2, "too_large")]
)
async def test_child_with_too_many_sections_is_cut(read_with: ReadWith, pages: int, sections: int, code: str) -> None:
    with pytest.raises(IngestionError) as error:
        await read_with(f"say(*[Page(sections=[''] * {sections}, pages={pages})] * {pages}, Done())")
    assert error.value.code == code


@pytest.mark.parametrize("said", [b"rubbish of some length", b"\xff" * 100, b"\0\0\0\5rubbi", b""])
async def test_invalid_output_of_a_child_is_a_malformed_file(read_with: ReadWith, said: bytes) -> None:
    with pytest.raises(IngestionError) as error:
        await read_with(f"os.write(1, {said!r})")
    assert error.value.code == "malformed"


def pack(kind: str, **fields: object) -> bytes:
    return msgspec.msgpack.encode({"type": kind, **fields})


def pack_failure(code: str = "encrypted", message: str = "It is encrypted.", cause: str = "") -> bytes:
    return pack("Failed", code=code, message=message, cause=cause)


WARNING = {"code": "truncated", "message": "The end is missing."}


def pack_warning(**fields: str) -> bytes:
    return pack("Page", sections=["a"], pages=1, warnings=[WARNING | fields])


PAGE = pack("Page", sections=["a"], pages=1)
IMAGE = PNG_BEGINNING + (1).to_bytes(4) * 2 + PNG_END
INVALID = {
    "no pages": [pack("Page", sections=["a"], pages=0)],
    "more pages than the limit": [pack("Page", sections=["a"], pages=11)] * 11,
    "more pages than 64 bits": [pack("Page", sections=["a"], pages=2**64 - 1)],
    "pages that are a text": [pack("Page", sections=["a"], pages="1")],
    "more pages than declared": [PAGE, PAGE],
    "fewer pages than declared": [pack("Page", sections=["a"], pages=2)],
    "NUL": [pack("Page", sections=["a", "b\0"], pages=1)],
    "lone surrogate": [PAGE.replace(b"\xa1a", b"\xa3\xed\xa0\x80")],
    "no UTF-8": [PAGE.replace(b"\xa1a", b"\xa1\xff")],
    "nested text": [PAGE.replace(b"\xa1a", b"\x91" * 10_000)],
    "nested unknown field": [b"\x82\xa4type\xa4Page\xa1x" + b"\x91" * 20_000 + b"\xc0"],
    "array without end": [PAGE.replace(b"\x91\xa1a", b"\xdd\xff\xff\xff\xff")],
    "two messages in a frame": [PAGE + PAGE],
    "unknown type": [pack("Kill", number=1)],
    "page image": [pack("PageImage", png=IMAGE)],
    "unknown code": [pack_failure("ready")],
    "code that is tried again": [pack_failure("worker_lost")],
    "NUL in a message": [pack_failure(message="a\0")],
    "escape sequence in a message": [pack_failure(message="a\x1b[2J")],
    "long message": [pack_failure(message="a" * 1001)],
    "unknown warning": [pack_warning(code="ready")],
    "escape sequence in a warning": [pack_warning(message="a\x1b[2J")],
    "long warning": [pack_warning(message="a" * 1001)],
    "many warnings": [pack("Page", sections=["a"], pages=1, warnings=[WARNING] * 21)],
    "line in a cause": [pack_failure(cause="a\nb")],
    "long cause": [pack_failure(cause="a" * 1001)],
}


@pytest.mark.parametrize("bodies", INVALID.values(), ids=INVALID.keys())
async def test_frame_that_no_reader_sends_is_a_malformed_file(read_with: ReadWith, bodies: list[bytes]) -> None:
    said = b"".join(len(body).to_bytes(4) + body for body in bodies)
    with pytest.raises(IngestionError) as error:
        await read_with(f"os.write(1, {said!r}); say(Done())")
    assert (error.value.code, error.value.message) == ("malformed", CRASH)


async def test_frames_after_the_end_are_ignored(read_with: ReadWith) -> None:
    assert await read_with("say(Page(['a'], 1), Done(), Page(['b'], 1))") == ["a"]


async def test_valid_failure_is_passed_on(read_with: ReadWith) -> None:
    body = pack_failure()
    with pytest.raises(IngestionError) as error:
        await read_with(f"os.write(1, {len(body).to_bytes(4) + body!r})")
    assert (error.value.code, error.value.message) == ("encrypted", "It is encrypted.")


@pytest.mark.parametrize(
    "png",
    [
        b"",
        b"<svg onload=alert(1)>",
        IMAGE.replace(b"PNG", b"GIF"),
        IMAGE[:20],
        IMAGE + b"<script>",
        PNG_BEGINNING + bytes(8) + PNG_END,
        PNG_BEGINNING + (1).to_bytes(4) + (4097).to_bytes(4) + PNG_END,
    ],
)
async def test_image_that_no_reader_sends_is_a_malformed_file(hijacked: Sandbox, png: bytes) -> None:
    body = pack("PageImage", png=png)
    with tempfile.TemporaryFile() as file:
        file.write(f"os.write(1, {len(body).to_bytes(4) + body!r})".encode())
        file.flush()
        with pytest.raises(IngestionError) as error:
            await hijacked.draw(file, "application/pdf", LIMITS, 1, None)
    assert (error.value.code, error.value.message) == ("malformed", CRASH)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGSEGV, "malformed"), (signal.SIGKILL, "out_of_memory"), (signal.SIGXCPU, "timeout")]
)
async def test_killed_child_fails_with_the_reason(read_with: ReadWith, number: signal.Signals, code: str) -> None:
    with pytest.raises(IngestionError) as error:
        await read_with(f"signal.raise_signal({number})")
    assert error.value.code == code


async def test_child_that_hangs_is_killed_at_its_deadline(read_with: ReadWith) -> None:
    with pytest.raises(IngestionError) as error:
        await read_with("signal.raise_signal(signal.SIGSTOP)", limits=replace(LIMITS, seconds=1.0))
    assert error.value.code == "timeout"


async def test_child_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "a secret")
    sandbox = Sandbox(make_server('say(Page(sections=[" ".join(os.environ)], pages=1), Done())'))
    [names] = await read(sandbox)
    await sandbox.close()
    assert set(names.split()) <= {"LANG", "LC_CTYPE", "PATH", "PYTHONDONTWRITEBYTECODE"}


async def test_child_has_only_its_file_and_its_output(read_with: ReadWith) -> None:
    child = """
        files = []
        for number in range(1024):
            try:
                os.fstat(number)
            except OSError:
                continue
            files.append(number)
        say(Page(sections=[str(files)], pages=1), Done())
        """
    assert await read_with(child) == ["[0, 1, 2]"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a limit keeps the child of an ordinary user from forking")
async def test_processes_of_a_child_are_killed_with_it() -> None:
    child = """
        started = os.fork()
        if not started:
            while True: signal.pause()
        say(Page(sections=[str(started)], pages=1), Done())
        """
    sandbox = Sandbox(make_server(child, layers="frozenset()"))
    [started] = await read(sandbox)
    await wait_for(lambda: not psutil.pid_exists(int(started)))
    await sandbox.close()


def test_child_cannot_start_processes() -> None:
    program = """
import os, sys
from pipeline.sandbox.child import limit_process
from pipeline.stages.extract.format import MAX_SECTIONS
from pipeline.sandbox.protocol import PNG_BEGINNING, PNG_END, Limits
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
limit_process(Limits(seconds=5, memory_bytes=2**30, pages=1, characters=1))
try:
    os.fork()
except BlockingIOError:
    sys.exit(42)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    assert done.returncode == 42


async def test_next_reader_continues_after_the_last_page(read_with: ReadWith) -> None:
    child = """
        if order.reader == 0:
            say(Page(sections=["one"], pages=2))
            signal.raise_signal(signal.SIGSEGV)
        say(*[Page(sections=["two"], pages=2)][: 2 - order.pages_read], Done())
        """
    assert await read_with(child, "application/pdf") == ["one", "two"]


async def test_every_reader_is_tried(read_with: ReadWith) -> None:
    child = """
        if order.reader < 2:
            signal.raise_signal(signal.SIGABRT)
        say(Page(sections=["three"], pages=1), Done())
        """
    assert await read_with(child, "application/pdf") == ["three"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, "out_of_memory"), (signal.SIGXCPU, "timeout")])
async def test_file_that_hits_a_limit_is_not_tried_with_the_next_reader(
    read_with: ReadWith, number: signal.Signals, code: str
) -> None:
    child = f"""
        if order.reader == 0:
            signal.raise_signal({number})
        say(Page(sections=["one"], pages=1), Done())
        """
    with pytest.raises(IngestionError) as error:
        await read_with(child, "application/pdf")
    assert error.value.code == code


async def test_many_files_at_once(sandbox: Sandbox) -> None:
    texts = [f"file {number}" for number in range(20)]
    assert await asyncio.gather(*(read(sandbox, text.encode()) for text in texts)) == [[text] for text in texts]


async def test_children_are_forked_not_started(own_sandbox: Sandbox) -> None:
    await read(own_sandbox)
    server = find_server()
    await read(own_sandbox, PDF, "application/pdf")
    assert find_server() == server
    assert server.children() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_lost_fork_server_is_replaced(own_sandbox: Sandbox, number: signal.Signals) -> None:
    await read(own_sandbox)
    server = find_server()
    server.send_signal(number)
    if number == signal.SIGSTOP:
        # Nothing arrives until the deadline, and the child cannot be killed. So the server is killed.
        with pytest.raises(IngestionError) as error:
            await read(own_sandbox, limits=replace(LIMITS, seconds=1.0))
        assert error.value.code == "timeout"
    else:
        server.wait(5)
        await asyncio.sleep(0.1)
    assert not server.is_running()
    assert await read(own_sandbox) == ["text"]


async def test_children_die_with_their_server_and_the_file_may_be_retried() -> None:
    sandbox = Sandbox(
        make_server("say(Page(sections=[str(os.getpid())], pages=2)); signal.raise_signal(signal.SIGSTOP)")
    )
    with tempfile.TemporaryFile() as file:
        async with aclosing(sandbox.extract(file, "text/plain", LIMITS)) as extracted:
            child = psutil.Process(int((await anext(extracted)).text))
            child.parent().kill()  # type: ignore[union-attr]  # it has a parent
            with pytest.raises(IngestionError) as error:
                await anext(extracted)
    assert error.value.code == "worker_lost"
    child.wait(5)
    await sandbox.close()


def test_child_that_reads_or_draws_a_pdf_imports_nothing() -> None:
    """The fork server has loaded everything, so that no child does it again."""
    command = [sys.executable, "-c", READS_PDF]
    found = subprocess.run(command, input=PDF, cwd=PROJECT, check=True, capture_output=True, timeout=60)
    assert found.stdout == b"[]\n"
