"""`sluice-server`: the commands of `python -m pipeline`, with the API and the worker beside them.

This module imports little, so that the API starts as fast as with `python -m api`.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

MODULES = {"api": "api", "worker": "workers"}
"""Commands that are programs of their own."""


def become(module: str, arguments: Sequence[str] = ()) -> NoReturn:
    """Run `python -m MODULE ARGUMENTS` in this process, so that signals of a supervisor reach it."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own program, no shell


def main() -> None:
    """Run the command in `sys.argv`."""
    command, *others = sys.argv[1:] or [""]
    if command in MODULES and not others:
        become(MODULES[command])
    become("pipeline", sys.argv[1:])
