"""Child processes that never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import IO

PR_SET_PDEATHSIG = 1


class Child:
    """A child in a process group of its own, so that Ctrl-C at the terminal reaches only the parent."""

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: IO[bytes] | None
    ) -> None:
        self.name = name
        self._command = command
        self._env = dict(env)
        self._cwd = cwd
        self._log = log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - the commands are constants of this project
            self._command,
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            process_group=0,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - only one thread runs here
        )

    @property
    def is_running(self) -> bool:
        """True until the process exits."""
        return self.process.poll() is None

    def restart(self) -> None:
        """Kill the rest of the process group, and start the child again."""
        self._kill_group()
        self.process = self._start()

    def terminate(self) -> None:
        """Send SIGTERM if the child is running."""
        if self.is_running:
            self.process.terminate()

    def wait_or_kill(self, deadline: float) -> None:
        """Wait for the child to exit until `deadline` (monotonic), then kill the rest of its process group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=max(0.0, deadline - monotonic()))
        self._kill_group()
        self.process.wait()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
