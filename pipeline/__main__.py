"""`python -m pipeline`: the operator's commands."""

import argparse
import sys
from pathlib import Path

from pipeline.local import demo
from pipeline.local.stack import StackError, ensure_secret, run_stack, stop_on_signals
from pipeline.settings import SettingsError, load_settings


def up() -> None:
    """Run the whole service until SIGINT or SIGTERM."""
    ensure_secret(Path(".env"))
    settings = load_settings()
    try:
        with stop_on_signals(), run_stack(settings) as stack:
            print(f"ready {stack.url}", flush=True)
            stack.watch()
    except KeyboardInterrupt:
        return


def main() -> None:
    """Run one command."""
    commands = {"up": up, "demo": demo.run}
    parser = argparse.ArgumentParser(prog="python -m pipeline")
    choices = parser.add_subparsers(dest="command", required=True)
    choices.add_parser("up", help="PostgreSQL, Valkey, migrations, API and worker, until Ctrl-C")
    choices.add_parser("demo", help="upload the sample files, ask two questions, show the passages")
    try:
        commands[parser.parse_args().command]()
    except (SettingsError, StackError) as error:
        sys.exit(f"sluice: {error}")


if __name__ == "__main__":
    main()
