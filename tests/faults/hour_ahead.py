"""`python -m tests.faults.hour_ahead MODULE`: run a module with a clock that is an hour fast."""

import runpy
import sys
import time

import time_machine

HOUR_SECONDS = 3600

if __name__ == "__main__":
    module = sys.argv.pop(1)
    with time_machine.travel(time.time() + HOUR_SECONDS, tick=True):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
