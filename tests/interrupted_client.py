"""Runs `sluice` and sends SIGINT to itself at a chosen moment.

usage: python -m tests.interrupted_client MOMENT ARGUMENT...

MOMENT is a JSON object with the fields of Moment; {} sends nothing. Moments are audit events of Python, so that a test
can name "the import of httpx2" or "the DNS lookup" without a race.
"""

import atexit
import json
import os
import runpy
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Moment:
    """The first audit event `event` whose arguments contain `text`, or "exit"."""

    event: str = ""
    text: str = ""
    signals: int = 1
    block_seconds: float = 0.0
    """Time for which the event then blocks its thread."""
    is_ignored: bool = False
    """Start with SIGINT ignored, as a background job of a shell."""


class Sender:
    """Sends the signals of a moment, once."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._is_done = False

    def observe(self, event: str, arguments: Any) -> None:
        if self._is_done or event != self._moment.event or self._moment.text not in str(arguments):
            return
        self._is_done = True
        for _ in range(self._moment.signals):
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(self._moment.block_seconds)


def main() -> None:
    moment = Moment(**json.loads(sys.argv[1]))
    sender = Sender(moment)
    # Never inherit the disposition: the test run itself may be a background job.
    signal.signal(signal.SIGINT, signal.SIG_IGN if moment.is_ignored else signal.default_int_handler)
    atexit.register(sender.observe, "exit", "")
    sys.argv = ["sluice_command", *sys.argv[2:]]
    sys.addaudithook(sender.observe)
    runpy.run_module("sluice_command", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
