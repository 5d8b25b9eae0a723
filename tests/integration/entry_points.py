"""`python -m tests.integration.entry_points`: starts every program of the service in turn, each with a wrong setting.

Prints, as JSON, which of them had hidden the memory of their process before they read the settings.
"""

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import socket
import sys
from collections.abc import Callable

from pipeline.sandbox import kernel

PR_GET_DUMPABLE = 3


def run_program(name: str) -> Callable[[], object]:
    """Return a call that runs `python -m NAME`."""
    return lambda: runpy.run_module(name, run_name="__main__", alter_sys=True)


def load(name: str) -> Callable[[], object]:
    """Return a call that imports a module, as uvicorn or arq does."""
    return lambda: importlib.import_module(name)


PROGRAMS = {
    **{name: run_program(name) for name in ("api", "workers", "pipeline", "pipeline.sandbox")},
    **{name: load(name) for name in ("api.main", "workers.main")},
}


def hides_memory(start: Callable[[], object]) -> bool:
    """Start a program and return whether it has hidden the memory of this process."""
    kernel.control_process(kernel.PR_SET_DUMPABLE, 1)
    with contextlib.suppress(SystemExit, Exception):  # each program ends in its own way at a wrong setting
        start()
    return not ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)


def main() -> None:
    os.environ["PORT"] = "wrong"
    orders, ours = socket.socketpair()
    ours.close()  # the fork server ends at once
    os.dup2(orders.fileno(), 0)
    sys.argv = ["program", "doctor"]
    output, sys.stdout = sys.stdout, sys.stderr
    hidden = {name: hides_memory(start) for name, start in PROGRAMS.items()}
    print(json.dumps(hidden), file=output, flush=True)


if __name__ == "__main__":
    main()
