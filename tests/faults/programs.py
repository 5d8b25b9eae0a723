"""API and worker processes of the fault tests: the real programs, started from a process that has imported them already.

Importing torch takes seconds, and these tests start processes by the dozen.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import sentence_transformers  # noqa: F401 - imported once, before the fork
import time_machine

import api.__main__
import api.app
import pipeline.__main__
import workers.__main__
from pipeline.settings import Settings


def serve(port: int) -> None:
    """`python -m api`."""
    os.environ["PORT"] = str(port)
    api.__main__.main()


def work() -> None:
    """`python -m workers`."""
    workers.__main__.main()


def change_model(name: str) -> None:
    """`python -m pipeline reembed --model NAME`."""
    sys.argv += ["reembed", "--model", name]
    pipeline.__main__.main()


def serve_an_hour_ahead(port: int) -> None:
    """The API with a clock that is wrong."""
    with time_machine.travel(_in_an_hour(), tick=True):
        serve(port)


def work_an_hour_ahead() -> None:
    """A worker with a clock that is wrong."""
    with time_machine.travel(_in_an_hour(), tick=True):
        work()


def _in_an_hour() -> float:
    return time.time() + 3600


PROGRAMS: dict[str, Callable[..., None]] = {
    program.__name__: program for program in (serve, work, change_model, serve_an_hour_ahead, work_an_hour_ahead)
}


def become(name: str, arguments: tuple[object, ...], environment: Mapping[str, str], log: Path) -> None:
    """Turn this forked process into one of the programs."""
    for setting in Settings.model_fields:
        os.environ.pop(setting.upper(), None)
    os.environ.update(environment)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [name]
    PROGRAMS[name](*arguments)


context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__])
