"""Ctrl-C: the first one ends the command within a grace period, the second one ends it at once.

KeyboardInterrupt is raised only at a password prompt. Elsewhere it could surface in an import, in a `finally` or during
interpreter exit, and print a traceback.

This module is imported before all others and imports little, so that the handler is in place early.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from select import select

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
GRACE_SECONDS = 2.0
"""Time for an interrupted command to clean up before the process ends."""
STDERR = 2
SHOW_CURSOR = b"\x1b[?25h"
DUMB_TERMINALS = {"", "dumb", "unknown"}


class Interrupts:
    """The SIGINT handler of the process, and the notice that it prints."""

    def __init__(self, *, as_json: bool = False, grace_seconds: float = GRACE_SECONDS) -> None:
        self.as_json = as_json
        self.detail = "interrupted"
        self.is_interrupted = False
        self.cancel: Callable[[], object] | None = None
        """Cancels the running command. Until it is set, Ctrl-C ends the process at once."""
        self._grace_seconds = grace_seconds
        self._is_at_prompt = False
        self._is_ending = False

    def install(self) -> None:
        """Handle SIGINT, unless the process was started with SIGINT ignored.

        A shell without job control ignores SIGINT for its background jobs (POSIX), so that Ctrl-C ends only the
        foreground job.
        """
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            return
        # A timer signal also interrupts a blocked write to stdout. A thread started in a signal handler could deadlock.
        signal.signal(signal.SIGALRM, lambda *_: self.end())
        signal.signal(signal.SIGINT, lambda *_: self._handle())

    def _handle(self) -> None:
        if self._is_at_prompt:
            if not self.is_interrupted:
                self._start_grace_period()
                raise KeyboardInterrupt
            return  # the prompt is restoring the terminal
        if self.cancel is None or self.is_interrupted:
            self.end()
        else:
            self._start_grace_period()
            self.cancel()

    def _start_grace_period(self) -> None:
        self.is_interrupted = True
        signal.setitimer(signal.ITIMER_REAL, self._grace_seconds)

    @contextmanager
    def at_prompt(self) -> Iterator[None]:
        """Raise KeyboardInterrupt on Ctrl-C, so that the prompt can restore the terminal."""
        self._is_at_prompt = True
        try:
            yield
        finally:
            self._is_at_prompt = False

    def end(self) -> None:
        """Print the notice and end the process.

        Skips interpreter exit, which can wait for a thread in a DNS lookup or for the reader of stdout.
        """
        if self._is_ending:
            return  # another signal interrupted this method, which goes on and exits
        self._is_ending = True
        self._print_notice()
        os._exit(INTERRUPTED)

    def _print_notice(self) -> None:
        text = f'{{"code":"interrupted","detail":"{self.detail}"}}' if self.as_json else f"sluice: {self.detail}"
        # Progress bars hide the cursor, and an early end leaves it hidden.
        can_show_cursor = os.isatty(STDERR) and os.environ.get("TERM", "") not in DUMB_TERMINALS
        with suppress(OSError, ValueError):  # stderr is closed
            if select([], [STDERR], [], 0)[1]:  # never wait for the reader of stderr
                os.write(STDERR, (SHOW_CURSOR if can_show_cursor else b"") + f"{text}\n".encode())
