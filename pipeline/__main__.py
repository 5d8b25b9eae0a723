"""`python -m pipeline`: the operator's commands."""

import argparse
import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.db.models import SERVICE_ROLE
from pipeline.db.schema import set_service_password
from pipeline.errors import DatabaseUnavailable
from pipeline.local import demo, stack
from pipeline.local.stack import StackError, ensure_secret, run_stack, stop_on_signals
from pipeline.reembed import ModelChangeError, reembed
from pipeline.settings import SettingsError, load_settings


def up() -> None:
    """Run the whole service until SIGINT or SIGTERM."""
    ensure_secret(Path(".env"))
    settings = load_settings()
    try:
        with stop_on_signals(), run_stack(settings) as running:
            print(f"ready {running.url}", flush=True)
            running.watch()
    except KeyboardInterrupt:
        return


def migrate() -> None:
    """Bring the database to the newest schema, and let the service role log in as DATABASE_URL says."""
    settings = load_settings()
    owner_url, service_url = settings.owner_url, urlsplit(settings.sqlalchemy_url)
    stack.migrate(os.environ)
    if service_url.username == SERVICE_ROLE and service_url.password:
        asyncio.run(set_service_password(owner_url, unquote(service_url.password)))


def change_model(name: str) -> None:
    """Embed everything with another model, tell how far that is, and let it answer from then on."""
    with suppress(KeyboardInterrupt):  # all stays as it is, and the same command goes on
        asyncio.run(reembed(load_settings().owner_url, name, lambda line: print(line, flush=True)))


def main() -> None:
    """Run one command."""
    commands = {"up": up, "demo": demo.run, "migrate": migrate}
    parser = argparse.ArgumentParser(prog="python -m pipeline")
    choices = parser.add_subparsers(dest="command", required=True)
    choices.add_parser("up", help="PostgreSQL, Valkey, migrations, API and worker, until Ctrl-C")
    choices.add_parser("migrate", help="bring the database to the newest schema")
    choices.add_parser("demo", help="upload the sample files, ask two questions, show the passages")
    changing = choices.add_parser("reembed", help="embed everything with another model, which then answers")
    changing.add_argument("--model", required=True, help="as it would stand in EMBEDDING_MODEL")
    options = parser.parse_args()
    try:
        if options.command == "reembed":
            change_model(options.model)
        else:
            commands[options.command]()
    except (SettingsError, StackError, DatabaseUnavailable, ModelChangeError) as error:
        sys.exit(f"sluice: {error}")


if __name__ == "__main__":
    main()
