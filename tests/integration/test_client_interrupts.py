"""Ctrl-C in `sluice`: it ends at any moment, with exit code 130 and without a traceback."""

import fcntl
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.interrupted_client import Moment
from tests.scripted_server import Answer, refuse, serve

PROJECT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 20
"""Far more than the grace period, for slow machines, and far less than anything here would block."""
BLOCKED_SECONDS = 600.0
DOCUMENT = {
    "id": "01a2084b-9065-752d-aaf7-35b94206de34",
    "filename": "a.txt",
    "status": "processing",
    "error": None,
    "pages": 1,
    "chunks": 1,
    "progress": 0.5,
    "queue_position": None,
    "size_bytes": 1,
    "created_at": "2026-11-27T00:00:00Z",
}
NOTICE = "sluice: interrupted\n"
UPLOAD_NOTICE = "sluice: interrupted, uploaded files are kept; run the same command again to continue\n"
Client = subprocess.Popen[str]
Decide = Callable[[str, str | None], Answer]


def answer(asked: str, _: str | None) -> Answer:
    if asked.startswith("POST"):
        return 202, {}, DOCUMENT
    return 200, {}, {"items": [DOCUMENT], "next_cursor": None}


def answer_unavailable(*_: object) -> Answer:
    return refuse(503, "database_unavailable", Retry_After="60")


@contextmanager
def run_process(*command: str, terminal: int = subprocess.PIPE, **environment: str) -> Iterator[Client]:
    """Run Python; kill it if the test fails while it runs."""
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=PROJECT,
        env={**os.environ, "TERM": "dumb", **environment},
        start_new_session=True,  # without /dev/tty, prompts use stdin
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def run_client(
    folder: Path, *arguments: str, moment: Moment | None = None, terminal: int = subprocess.PIPE
) -> Iterator[Client]:
    with run_process(
        *("-m", "tests.interrupted_client", json.dumps(asdict(moment or Moment())), *arguments),
        terminal=terminal,
        XDG_CONFIG_HOME=str(folder),
        SLUICE_TOKEN="token",
        SLUICE_EMAIL="a@example.org",
    ) as client:
        yield client


def finish(process: Client) -> tuple[int, str]:
    _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, errors


@pytest.fixture
def file(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("some text")
    return str(file)


@pytest.mark.parametrize(
    ("moment", "ending"),
    [
        (Moment("import", "sluice_command.command_line"), (130, NOTICE)),
        (Moment("import", "httpx2"), (130, NOTICE)),
        (Moment("import", "rich.console", signals=2), (130, NOTICE)),
        (Moment("socket.__new__"), (130, UPLOAD_NOTICE)),  # the event loop is created
        (Moment("open", "/text.txt", signals=2), (130, UPLOAD_NOTICE)),
        (Moment("socket.connect"), (130, UPLOAD_NOTICE)),
        (Moment("exit"), (0, "")),
        (Moment("socket.connect", is_ignored=True), (0, "")),
    ],
    ids=lambda value: " ".join(map(str, asdict(value).values())) if isinstance(value, Moment) else "",
)
def test_moments_inside_the_client(tmp_path: Path, file: str, moment: Moment, ending: tuple[int, str]) -> None:
    with (
        serve(decide=answer) as script,
        run_client(tmp_path, "upload", file, "--url", script.url, moment=moment) as client,
    ):
        assert finish(client) == ending


@pytest.mark.parametrize(("decide", "requests"), [(answer, 3), (answer_unavailable, 1)], ids=["poll", "retry"])
def test_pauses_between_requests(tmp_path: Path, file: str, decide: Decide, requests: int) -> None:
    with (
        serve(decide=decide) as script,
        run_client(tmp_path, "upload", file, "--wait", "--url", script.url) as client,
    ):
        while len(script.asked) < requests:
            time.sleep(0.01)
        time.sleep(0.1)  # the client reads the answer and pauses
        client.send_signal(signal.SIGINT)
        assert finish(client) == (130, UPLOAD_NOTICE)


def test_server_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with run_client(tmp_path, "status", "--url", url) as client:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1000)
                client.send_signal(signal.SIGINT)
                assert finish(client) == (130, NOTICE)


def test_dns_lookup_that_blocks(tmp_path: Path) -> None:
    """asyncio.run and interpreter exit both wait for the thread of the lookup."""
    moment = Moment("socket.getaddrinfo", "localhost", block_seconds=BLOCKED_SECONDS)
    with run_client(tmp_path, "status", "--url", "http://localhost:1", moment=moment) as client:
        assert finish(client) == (130, NOTICE)


def test_reader_of_stdout_that_pauses(tmp_path: Path) -> None:
    """The write blocks the event loop, so that no cancellation reaches the command."""
    page = {"items": [{**DOCUMENT, "filename": "x" * 200_000}], "next_cursor": None}
    with serve((200, {}, page)) as script, run_client(tmp_path, "status", "--json", "--url", script.url) as client:
        assert client.stdout
        assert client.stderr
        while not any(fcntl.ioctl(client.stdout, termios.FIONREAD, bytes(4))):
            time.sleep(0.01)
        client.send_signal(signal.SIGINT)
        assert client.wait(TIMEOUT_SECONDS) == 130
        assert json.load(client.stderr) == {"code": "interrupted", "detail": "interrupted"}


@pytest.mark.parametrize("command", ["login", "upload"])
def test_password_prompt(tmp_path: Path, file: str, command: str) -> None:
    """`login` asks before the event loop runs, and `upload` asks in a task if the token has expired."""
    arguments = ["login", "--email", "a@example.org"] if command == "login" else ["upload", file]
    parent, terminal = pty.openpty()
    try:
        with (
            serve(refuse(401, "token_expired")) as script,
            run_client(tmp_path, *arguments, "--url", script.url, terminal=terminal) as client,
        ):
            prompt = "password for a@example.org: "
            assert prompt in read_terminal(parent, until=prompt)
            assert not is_echoing(terminal)
            client.send_signal(signal.SIGINT)
            assert client.wait(TIMEOUT_SECONDS) == 130
            assert is_echoing(terminal)
            output = read_terminal(parent)
            assert output.count("sluice: interrupted") == 1
            assert "Traceback" not in output
    finally:
        os.close(parent)
        os.close(terminal)


def read_terminal(terminal: int, until: str = "") -> str:
    """Return what was printed until this text, or so far."""
    output = ""
    while not (until and until in output):
        if not select.select([terminal], [], [], TIMEOUT_SECONDS if until else 0)[0]:
            break
        output += os.read(terminal, 1000).decode()
    return output


def is_echoing(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


STUBBORN_COMMAND = """
import asyncio, signal, sys
from sluice_command.command_line import run_cancellable
from sluice_command.interrupts import Interrupts

async def swallow_cancellations(number):
    print("started", flush=True)
    for _ in range(number):
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            print("swallowed", flush=True)
    return 0

signal.signal(signal.SIGINT, signal.default_int_handler)
interrupts = Interrupts(grace_seconds=float(sys.argv[1]))
interrupts.install()
run_cancellable(swallow_cancellations(int(sys.argv[2])), interrupts)
interrupts.end()
"""


@pytest.mark.parametrize(
    ("grace_seconds", "swallowed", "signals"),
    [("600", "3", 1), ("0.2", "1000000", 1), ("600", "1000000", 2)],
    ids=["cancels again", "ends after the grace period", "second signal"],
)
def test_command_that_swallows_cancellations(grace_seconds: str, swallowed: str, signals: int) -> None:
    with run_process("-c", STUBBORN_COMMAND, grace_seconds, swallowed) as process:
        assert process.stdout
        for line in ["started\n", "swallowed\n"][:signals]:
            assert process.stdout.readline() == line
            process.send_signal(signal.SIGINT)
        assert finish(process) == (130, NOTICE)
