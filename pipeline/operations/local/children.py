"""Child processes that never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO

from pipeline.operations.local.system_user import SystemUser

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """What a child runs."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    system_user: SystemUser | None
    """The user as which it runs. If None, it runs as this process's user."""
    lock: IO[str]
    """A file that stays open, and so locked, until the child has ended."""
    log: IO[bytes] | None = None
    """Where it writes. If None, it writes to this process's own output."""
    standard_input: bytes = field(default=b"", repr=False)
    """At most 64 KiB, which is what a pipe holds."""
    stop_signal: signal.Signals = signal.SIGTERM


class Child:
    """A child in a process group of its own, so that Ctrl-C at the terminal reaches only the parent."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.process = self._start()

    @property
    def name(self) -> str:
        """For messages."""
        return self._program.name

    def _start(self) -> subprocess.Popen[bytes]:
        program, user, parent = self._program, self._program.system_user, os.getpid()
        source, sink = os.pipe()
        with os.fdopen(sink, "wb") as writer:
            writer.write(program.standard_input)
        with os.fdopen(source, "rb") as reader:
            return subprocess.Popen(  # noqa: S603 - the commands are constants of this project
                program.command,
                env=program.environment,
                cwd=program.folder,
                stdin=reader,
                stdout=program.log,
                stderr=program.log,
                process_group=0,
                user=user.user_id if user else None,
                group=user.group_id if user else None,
                extra_groups=[] if user else None,
                pass_fds=[program.lock.fileno()],
                # It runs after the change of the user, which would undo it.
                preexec_fn=lambda: _die_with_parent(parent, program.stop_signal),  # noqa: PLW1509 - no other thread
            )

    @property
    def is_running(self) -> bool:
        """True until the process exits."""
        return self.process.poll() is None

    def restart(self) -> None:
        """Kill the rest of the process group, and start the child again."""
        self._kill_group()
        self.process = self._start()

    def stop(self) -> None:
        """Send the stop signal if the child is running."""
        if self.is_running:
            self.process.send_signal(self._program.stop_signal)

    def wait_or_kill(self, deadline: float) -> None:
        """Wait for the child to exit until `deadline` (monotonic), then kill the rest of its process group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=max(0.0, deadline - monotonic()))
        self._kill_group()
        self.process.wait()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def _die_with_parent(parent: int, death_signal: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
