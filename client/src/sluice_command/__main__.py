"""`sluice`: installs the Ctrl-C handler, then loads and runs the command line."""

import io
import os
import sys

from sluice_command.interrupts import Interrupts

BROKEN_PIPE = 141
"""Exit code after stdout was closed, as for a program that SIGPIPE ends."""


def main() -> None:
    """Run the command in `sys.argv` and exit with its code."""
    interrupts = Interrupts(as_json="--json" in sys.argv)
    interrupts.install()
    from sluice_command.command_line import run  # noqa: PLC0415 - Ctrl-C must be handled during the slow imports

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # print a substitute for characters the terminal cannot show
    try:
        code = run(sys.argv[1:], os.environ, interrupts)
        sys.stdout.flush()
    except BrokenPipeError:
        # stdout was closed (for example by `| head`); suppress the flush error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    finally:
        if interrupts.is_interrupted:
            interrupts.end()
    sys.exit(code)


if __name__ == "__main__":
    main()
