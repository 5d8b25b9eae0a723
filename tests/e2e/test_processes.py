"""Processes of tests end with the test process, and Ctrl-C reaches them."""

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from subprocess import PIPE

import psutil
import pytest

from tests.processes import Process, start_program

# A test process as in the background of a shell, where SIGINT is ignored. It starts processes of all kinds.
SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
from tests.processes import start_program
from tests.servers import run_servers

with run_servers():
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    start_program(sys.executable, "-c", deaf)
    start_program("sh", "-c", "sleep 600 & sleep 600")
    start_program("sleep", "600").send_signal(signal.SIGSTOP)
    print(start_program("sleep", "600").pid, flush=True)
    time.sleep(600)
"""
END_SECONDS = 15


@pytest.fixture
def started() -> Iterator[tuple[Process, psutil.Process]]:
    """A test process, and one of the processes that it started."""
    with start_program(sys.executable, "-c", SCRIPT, stdout=PIPE) as process:
        assert process.stdout
        yield process, psutil.Process(int(process.stdout.readline()))


def test_nothing_is_left_when_the_test_process_is_killed(started: tuple[Process, psutil.Process]) -> None:
    process, _ = started
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    names = Counter(one.name() for one in family)
    assert (names["sleep"], names["valkey-server"]) == (4, 1)
    assert names["postgres"] > 1
    process.kill()
    _, alive = psutil.wait_procs(family, timeout=END_SECONDS)
    assert alive == []


def test_ctrl_c_ends_what_a_test_process_starts_that_ignores_it(started: tuple[Process, psutil.Process]) -> None:
    _, sleeping = started
    sleeping.send_signal(signal.SIGINT)
    sleeping.wait(END_SECONDS)
