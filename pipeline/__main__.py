"""`python -m pipeline`: the operator's commands."""

import asyncio
import getpass
import json
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.db import embedding_models
from pipeline.db.models import SERVICE_ROLE
from pipeline.db.schema import set_service_password
from pipeline.db.session import Database
from pipeline.embedding.reembed import ModelChangeError, reembed
from pipeline.errors import InvalidInput, SluiceError
from pipeline.logs import configure_logging
from pipeline.operations.doctor import Finding, Verdict, examine
from pipeline.operations.local import demo, stack
from pipeline.operations.local.stack import (
    StackError,
    ensure_secret,
    load_operator_settings,
    run_stack,
    stop_on_signals,
)
from pipeline.settings import SettingsError, load_settings
from pipeline.use_cases import accounts

OWNER_TIMEOUT_SECONDS = 60.0
"""An account with many documents takes long to delete."""
EPILOG = """\
examples:
  python -m pipeline doctor
  python -m pipeline users add someone@example.org
  python -m pipeline reembed --model intfloat/multilingual-e5-small
"""


class Declined(Exception):
    """The operator does not want it after all, or cannot be asked."""


def up(_options: Namespace) -> None:
    """Run the whole service until SIGINT or SIGTERM."""
    ensure_secret(Path(".env"))
    settings = load_settings()
    try:
        with stop_on_signals(), run_stack(settings) as running:
            print(f"ready {running.url}", flush=True)
            running.watch()
    except KeyboardInterrupt:
        return


def run_demo(_options: Namespace) -> None:
    """Show the main job from beginning to end."""
    demo.run()


def migrate(_options: Namespace) -> None:
    """Bring the database to the newest schema, and let the service role log in as DATABASE_URL says."""
    settings = load_settings()
    owner_url, service_url = settings.owner_url, urlsplit(settings.sqlalchemy_url)
    stack.migrate(os.environ)
    if service_url.username == SERVICE_ROLE and service_url.password:
        asyncio.run(set_service_password(owner_url, unquote(service_url.password)))


def change_model(options: Namespace) -> None:
    """Embed everything with another model, tell how far that is, and let it answer from then on."""
    owner_url = load_operator_settings().owner_url
    with suppress(KeyboardInterrupt):  # all stays as it is, and the same command goes on
        asyncio.run(reembed(owner_url, options.model, lambda line: print(line, flush=True)))


def see_doctor(options: Namespace) -> None:
    """Look at every part, tell how it is, and exit with 1 where one has failed."""
    # What is wrong is told here, with what to do about it.
    configure_logging("CRITICAL")
    try:
        settings = load_operator_settings()
    except SettingsError as error:
        _tell(Finding("settings", Verdict.FAILED, str(error), "correct the environment or .env"), options)
        sys.exit(1)

    async def tell_all() -> bool:
        has_failed = False
        async for finding in examine(settings):
            _tell(finding, options)
            has_failed |= finding.verdict == Verdict.FAILED
        return has_failed

    if asyncio.run(tell_all()):
        sys.exit(1)


def _tell(finding: Finding, options: Namespace) -> None:
    if options.json:
        print(json.dumps(asdict(finding), ensure_ascii=False), flush=True)
        return
    print(f"{finding.verdict:<8} {finding.part}: {finding.found}", flush=True)
    if finding.advice:
        print(f"         → {finding.advice}", flush=True)


async def list_users(options: Namespace) -> None:
    """List all accounts."""
    async with _open_as_owner() as database:
        for user in await accounts.list_all(database):
            if options.json:
                row = {**asdict(user), "id": str(user.id), "created_at": user.created_at.isoformat()}
                print(json.dumps(row, ensure_ascii=False))
            else:
                print(f"{user.id}  {user.created_at:%Y-%m-%d}  {user.documents:>6}  {user.notes:>6}  {user.email}")


async def add_user(options: Namespace) -> None:
    """Open an account."""
    async with _open_as_owner() as database:
        account = await accounts.add(database, options.email, _ask_for_password(options.email))
    print(f"{account.email} is added: {account.id}")


async def set_password(options: Namespace) -> None:
    """Replace a password."""
    async with _open_as_owner() as database:
        await accounts.set_password(database, options.email, _ask_for_password(options.email))
    print("The password is replaced. Tokens that were given out stay valid until they run out.")


async def delete_user(options: Namespace) -> None:
    """Delete an account."""
    if not options.yes:
        if not sys.stdin.isatty():
            raise Declined("nobody can be asked here: add --yes")
        print(f"Delete {options.email} with all documents, notes and passages? It cannot be undone. [y/N] ", end="")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise Declined("nothing is deleted")
    async with _open_as_owner() as database:
        await accounts.delete(database, options.email)
    print(f"{options.email} is deleted.")


@asynccontextmanager
async def _open_as_owner() -> AsyncIterator[Database]:
    """Connect as the owner of the tables, who sees the rows of all users.

    Raises SettingsError where DATABASE_OWNER_URL names somebody else.
    """
    url = load_operator_settings().owner_url
    database = Database(url, pool_size=1, timeout_seconds=OWNER_TIMEOUT_SECONDS, role=None)
    try:
        async with database.transaction() as session:
            if not await embedding_models.sees_everything(session):
                raise SettingsError("this is for the owner of the tables: set DATABASE_OWNER_URL, as for migrations")
        yield database
    finally:
        await database.close()


def _ask_for_password(email: str) -> str:
    """Ask for a new password twice, or read it from standard input where that is no terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"new password of {email}: ")
    if getpass.getpass("again: ") != password:
        raise Declined("the two passwords are not the same")
    return password


def make_parser() -> ArgumentParser:
    """Describe all commands."""
    parser = ArgumentParser(
        prog="python -m pipeline",
        description="Run and look after a Sluice service.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    choices = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    choices.add_parser("up", help="PostgreSQL, Valkey, migrations, API and worker, until Ctrl-C").set_defaults(run=up)
    choices.add_parser("migrate", help="bring the database to the newest schema").set_defaults(run=migrate)
    demonstrating = choices.add_parser("demo", help="upload the sample files, ask two questions, show the passages")
    demonstrating.set_defaults(run=run_demo)
    changing = choices.add_parser("reembed", help="embed everything with another model, which then answers")
    changing.add_argument("--model", required=True, help="as it would stand in EMBEDDING_MODEL")
    changing.set_defaults(run=change_model)
    examining = choices.add_parser("doctor", help="look at every part and say what to do; exit code 1 if one failed")
    examining.add_argument("--json", action="store_true", help="one JSON object a line")
    examining.set_defaults(run=see_doctor)
    _add_users(choices.add_parser("users", help="accounts, as the owner of the database"))
    return parser


def _add_users(parser: ArgumentParser) -> None:
    choices = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = choices.add_parser("list", help="id, since when, documents, notes, e-mail address")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(run_async=list_users)
    for name, command, text in (
        ("add", add_user, "open an account; the password is asked for, or read from standard input"),
        ("set-password", set_password, "replace a password, and lift the pause after failed logins"),
        ("delete", delete_user, "delete an account and all its data"),
    ):
        action = choices.add_parser(name, help=text)
        action.add_argument("email")
        action.set_defaults(run_async=command)
        if name == "delete":
            action.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=lambda options: asyncio.run(options.run_async(options)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, as typed or as given."""
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
    except InvalidInput as error:
        sys.exit(f"sluice: {error} {'; '.join(f'{field.field} {field.message}' for field in error.errors)}")
    except (SettingsError, StackError, SluiceError, ModelChangeError, Declined) as error:
        sys.exit(f"sluice: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
