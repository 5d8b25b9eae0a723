"""Commands for operators: `python -m pipeline`, which is also called `sluice-server`."""

import asyncio
import getpass
import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote, urlsplit

import msgspec

from pipeline.db import embedding_models
from pipeline.db.models import SERVICE_ROLE
from pipeline.db.requirements import UnpreparedDatabase, require_prepared
from pipeline.db.schema import prepare_service
from pipeline.db.session import Database, open_database
from pipeline.embedding.reembed import ModelChangeError, reembed
from pipeline.errors import Conflict, DatabaseUnavailable, InvalidInput, SluiceError
from pipeline.logs import configure_logging
from pipeline.operations.doctor import Finding, Verdict, examine, explain_owner_failure
from pipeline.operations.local import demo, stack
from pipeline.operations.local.address import find_public_url
from pipeline.operations.local.errors import StackError
from pipeline.operations.local.stack import (
    ensure_secret,
    load_operator_settings,
    run_stack,
    stop_on_signals,
)
from pipeline.programs import MODULES, become
from pipeline.sandbox.kernel import hide_memory
from pipeline.server_urls import require_web_url
from pipeline.settings import SettingsError, load_settings
from pipeline.use_cases import accounts, api_keys, invitations

USER_LINE = "{:<36}  {:<10}  {:<10}  {:>9}  {:>7}  {:>8}  {:>13}  {}"
EPILOG = """\
examples:
  sluice-server doctor
  sluice-server users add someone@example.org
  sluice-server reembed --model intfloat/multilingual-e5-small
"""


LONGEST_INVITATION_DAYS = 90


class Declined(Exception):
    """The operator did not confirm the command, or could not be asked."""


def up(_options: Namespace) -> None:
    """Run the whole service until SIGINT or SIGTERM."""
    ensure_secret(Path(".env"))
    settings = load_settings()
    try:
        with stop_on_signals(), run_stack(settings, report=_report) as running:
            print(f"ready {running.url}", flush=True)
            running.watch()
    except KeyboardInterrupt:
        return


def _report(step: str) -> None:
    print(f"{step} …", file=sys.stderr, flush=True)


def run_demo(_options: Namespace) -> None:
    """Upload the samples and ask questions, on a temporary stack."""
    demo.run()


def migrate(_options: Namespace) -> None:
    """Migrate the database to the newest schema, and prepare the service role. Its password comes from DATABASE_URL."""
    settings = load_settings()
    owner_url, service_url = settings.owner_url, urlsplit(settings.sqlalchemy_url)
    asyncio.run(require_prepared(owner_url))
    stack.migrate(os.environ)
    password = service_url.password if service_url.username == SERVICE_ROLE else None
    asyncio.run(prepare_service(owner_url, unquote(password) if password else None))
    print("The database has the newest schema.")


def change_model(options: Namespace) -> None:
    """Embed everything with another model, print the progress, and make that model active."""
    settings = load_operator_settings()
    with suppress(KeyboardInterrupt):  # the old model stays active, and the same command continues the change
        asyncio.run(reembed(settings, options.model, lambda line: print(line, flush=True)))


def run_doctor(options: Namespace) -> None:
    """Check every part and print the findings. Exit with code 1 if a check failed."""
    configure_logging("CRITICAL")  # the findings report the same problems
    try:
        settings = load_operator_settings()
    except SettingsError as error:
        _print_finding(Finding("settings", Verdict.FAILED, str(error), "correct the environment or .env"), options)
        sys.exit(1)

    async def print_all() -> bool:
        has_failed = False
        async for finding in examine(settings):
            _print_finding(finding, options)
            has_failed |= finding.verdict == Verdict.FAILED
        return has_failed

    if asyncio.run(print_all()):
        sys.exit(1)


def _print_finding(finding: Finding, options: Namespace) -> None:
    if options.json:
        print(json.dumps(asdict(finding), ensure_ascii=False), flush=True)
        return
    print(f"{finding.verdict:<8} {finding.part}: {finding.found}", flush=True)
    if finding.advice:
        print(f"         → {finding.advice}", flush=True)


async def list_users(options: Namespace) -> None:
    """List all accounts and how much they use."""
    async with _open_as_owner() as database:
        users = await accounts.list_all(database)
    if options.json:
        for user in users:
            print(msgspec.json.encode(user).decode())
        return
    print(USER_LINE.format("id", "created", "last login", "documents", "notes", "passages", "bytes", "e-mail address"))
    for user in users:
        last_login = user.last_login_at.date().isoformat() if user.last_login_at else "never"
        counts = (user.documents, user.notes, user.passages, user.bytes)
        print(USER_LINE.format(str(user.id), user.created_at.date().isoformat(), last_login, *counts, user.email))


async def add_user(options: Namespace) -> None:
    """Create an account."""
    async with _open_as_owner() as database:
        try:
            account = await accounts.add(database, options.email, _ask_for_password(options))
        except Conflict:
            raise Declined(f"{options.email} has an account already; users set-password changes its password") from None
    print(f"Created the account {account.email} with the id {account.id}.")


async def invite(options: Namespace) -> None:
    """Create an invitation and print its link."""
    settings = load_operator_settings()
    url = options.url or find_public_url(settings)
    async with _open_as_owner() as database:
        print(await invitations.invite(database, url, timedelta(days=options.days)))


async def set_password(options: Namespace) -> None:
    """Set a new password."""
    async with _open_as_owner() as database:
        await accounts.set_password(database, options.email, _ask_for_password(options))
    print("The password is changed, and all tokens of the account end within seconds.")


async def delete_user(options: Namespace) -> None:
    """Delete an account."""
    if not options.yes:
        if not options.stdin.isatty():
            raise Declined("standard input is not a terminal: add --yes to delete without confirmation")
        print(f"Delete {options.email} with all documents and notes? This cannot be undone. [y/N] ", end="")
        sys.stdout.flush()
        if options.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise Declined("nothing was deleted")
    async with _open_as_owner() as database:
        await accounts.delete(database, options.email)
    print(f"Deleted the account {options.email}.")


async def revoke_keys(options: Namespace) -> None:
    """Revoke all API keys of one account, or of all."""
    async with _open_as_owner() as database:
        number = await api_keys.revoke_all(database, options.user)
    print(f"Revoked {number} API key{'' if number == 1 else 's'}. After a second, no process accepts a revoked key.")


@asynccontextmanager
async def _open_as_owner() -> AsyncIterator[Database]:
    """Connect as the owner of the tables, who sees the rows of all users.

    Raises SettingsError if DATABASE_OWNER_URL names another role.
    """
    url = load_operator_settings().owner_url
    async with open_database(
        url, pool_size=1, timeout_seconds=accounts.DELETION_TIMEOUT_SECONDS, role=None
    ) as database:
        async with database.transaction() as session:
            if not await embedding_models.sees_everything(session):
                raise SettingsError("only the owner of the tables can do this; set DATABASE_OWNER_URL")
        yield database


def _ask_for_password(options: Namespace) -> str:
    """Ask for a new password twice, or read it from standard input if that is not a terminal."""
    if not options.stdin.isatty():
        password: str = options.stdin.readline().rstrip("\n")
        return password
    password = getpass.getpass(f"New password for {options.email}: ")
    if getpass.getpass("Repeat the password: ") != password:
        raise Declined("the two passwords are different; run the command again")
    return password


def make_parser() -> ArgumentParser:
    """Return the parser of all commands."""
    parser = ArgumentParser(
        prog="sluice-server",
        description="Run and maintain a Sluice service.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    choices = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    choices.add_parser("up", help="run the whole service on this machine until Ctrl-C").set_defaults(run=up)
    for name, text in (("api", "run the API alone"), ("worker", "run one worker")):
        choices.add_parser(name, help=text).set_defaults(run=lambda options: become(MODULES[options.command]))
    choices.add_parser("migrate", help="migrate the database to the newest schema").set_defaults(run=migrate)
    demo_parser = choices.add_parser("demo", help="upload the sample files, ask two questions and show the passages")
    demo_parser.set_defaults(run=run_demo)
    reembed_parser = choices.add_parser("reembed", help="embed everything with another model and switch to it")
    reembed_parser.add_argument("--model", required=True, help="the new model, as in EMBEDDING_MODEL")
    reembed_parser.set_defaults(run=change_model)
    doctor_parser = choices.add_parser("doctor", help="check every part and give advice; exit code 1 if a check failed")
    doctor_parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    doctor_parser.set_defaults(run=run_doctor)
    _add_users(choices.add_parser("users", help="manage accounts, as the owner of the tables"))
    _add_keys(choices.add_parser("keys", help="manage API keys, as the owner of the tables"))
    return parser


def _add_keys(parser: ArgumentParser) -> None:
    choices = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    revoke_parser = choices.add_parser("revoke", help="revoke all API keys of one account, or of all accounts")
    whose = revoke_parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="EMAIL", help="e-mail address of the account")
    whose.add_argument("--all", action="store_true", help="the keys of all accounts")
    parser.set_defaults(run=lambda options: asyncio.run(revoke_keys(options)))


def _add_users(parser: ArgumentParser) -> None:
    choices = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    list_parser = choices.add_parser("list", help="list all accounts and how much they use")
    list_parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    list_parser.set_defaults(run_async=list_users)
    invite_parser = choices.add_parser("invite", help="print a link with which one person can create an account")
    invite_parser.add_argument(
        "--days", type=_parse_days, default=7, metavar="N", help="valid for 1 to 90 days (default: 7)"
    )
    invite_parser.add_argument(
        "--url", type=_parse_url, help="address of the page (default: PUBLIC_URL or, if not set, http://HOST:PORT)"
    )
    invite_parser.set_defaults(run_async=invite)
    for name, command, text in (
        ("add", add_user, "create an account; asks for the password, or reads it from standard input"),
        ("set-password", set_password, "set a new password and end the pause after failed logins"),
        ("delete", delete_user, "delete an account and all its data"),
    ):
        action = choices.add_parser(name, help=text)
        action.add_argument("email")
        action.set_defaults(run_async=command)
        if name == "delete":
            action.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.set_defaults(run=lambda options: asyncio.run(options.run_async(options)))


def _parse_days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_INVITATION_DAYS:
        raise ArgumentTypeError(f"must be a number from 1 to {LONGEST_INVITATION_DAYS}")
    return int(text)


def _parse_url(text: str) -> str:
    try:
        require_web_url(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def main(arguments: Sequence[str] | None = None, stdin: TextIO | None = None) -> None:
    """Run one command, given as `arguments` or on the command line. Passwords are read from `stdin`."""
    options = make_parser().parse_args(arguments)
    options.stdin = stdin or sys.stdin
    try:
        options.run(options)
    except InvalidInput as error:
        sys.exit(f"sluice: {error} {'; '.join(f'{field.field} {field.message}' for field in error.errors)}")
    except DatabaseUnavailable as error:
        sys.exit(f"sluice: {explain_owner_failure(error, load_operator_settings())}")
    except (SettingsError, StackError, SluiceError, ModelChangeError, UnpreparedDatabase, Declined) as error:
        sys.exit(f"sluice: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output has ended, as `head` does. Python would write the rest at its exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    hide_memory()
    main()
