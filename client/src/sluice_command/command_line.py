"""Parses the arguments, runs the command and reports its errors."""

import asyncio
import getpass
import sys
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from typing import Any
from uuid import UUID

import msgspec

from sluice_client.errors import Problem, SluiceError, Unavailable, UnusableInput
from sluice_client.retries import PATIENCE_SECONDS
from sluice_client.urls import DEFAULT_URL, normalize_url
from sluice_command import commands
from sluice_command.connection import Connection
from sluice_command.display import clean
from sluice_command.errors import Interrupted, find_exit_code
from sluice_command.identity import AskPassword, Identity, identify
from sluice_command.interrupts import INTERRUPTED, Interrupts

MAX_PARALLEL = 32
MAX_PATIENCE_SECONDS = 86_400
CANCEL_INTERVAL_SECONDS = 0.1


DESCRIPTION = "Upload documents to a Sluice service, search them and ask questions about them."
EPILOG = """\
environment:
  SLUICE_URL                     URL of the service, if --url is not given
  SLUICE_TOKEN                   token; overrides the one saved by `login`
  SLUICE_EMAIL, SLUICE_PASSWORD  sign in without a prompt, also when a token expires
  SLUICE_NEW_PASSWORD            the new password for `password`, without a prompt
  SLUICE_INVITATION              invitation link for `login --register`

exit codes:
  0    done
  1    the service refused the request, or a document failed
  2    an argument or a setting is invalid
  3    not signed in
  4    the service was unreachable or unavailable for --patience seconds
  130  interrupted

examples:
  sluice login
  sluice upload reports/*.pdf --wait
  sluice ask "At what water level is the lock closed?"
"""


def make_parser() -> ArgumentParser:
    """Return the parser for all commands."""
    shared = _make_shared_parser()
    parser = ArgumentParser(
        prog="sluice",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sluice {version('sluice-client')}")
    choices = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: commands.Command, text: str, example: str) -> ArgumentParser:
        command = choices.add_parser(
            name, help=text, description=text, parents=[shared], epilog=f"example: sluice {example}"
        )
        command.set_defaults(run=run)
        return command

    login = add("login", commands.log_in, "sign in and save the token for the next commands", "login --register")
    login.add_argument("--email", help="e-mail address (default: SLUICE_EMAIL, or a prompt)")
    login.add_argument("--register", action="store_true", help="create the account first")
    login.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    upload = add("upload", commands.upload, "upload files", "upload reports/*.pdf --wait")
    upload.add_argument("files", nargs="+", metavar="FILE")
    upload.add_argument("--wait", action="store_true", help="wait until every document is ready or failed")
    upload.add_argument(
        "--parallel", type=_parse_parallel, default=4, metavar="N", help="files sent at a time (default: %(default)s)"
    )

    status = add("status", commands.status, "show the newest documents, or the given ones, with their errors", "status")
    status.add_argument("ids", nargs="*", type=_parse_id, metavar="ID")
    status.add_argument(
        "--status", choices=("pending", "processing", "ready", "failed"), help="show only documents with this status"
    )
    _add_listing_options(status)

    _add_collection_option(upload, "put the documents into this collection; may be repeated")

    search = add("search", commands.search, "show the best passages for a query", 'search "water level" --top-k 3')
    search.add_argument("query", metavar="QUERY")
    search.add_argument("--mode", choices=("hybrid", "vector", "keyword"), default="hybrid")

    ask = add("ask", commands.ask, "answer a question and cite passages", 'ask "When is the lock closed?"')
    ask.add_argument("question", metavar="QUESTION")
    for command in (search, ask):
        _add_passage_options(command)

    retry = add("retry", commands.retry, "retry failed documents", "retry 01999d1c-…")
    delete = add("delete", commands.delete, "delete documents and everything derived from them", "delete 01999d1c-…")
    for command in (retry, delete):
        command.add_argument("ids", nargs="+", type=_parse_id, metavar="ID")
    _add_keys(add("keys", commands.list_keys, "list, create and revoke API keys", "keys create reports --scope read"))
    text = "list, create and delete receivers of events, and show what was sent"
    _add_webhooks(add("webhooks", commands.list_webhooks, text, "webhooks create https://example.org/sluice"))
    audit = add("audit", commands.show_audit_log, "show the newest actions of the account", "audit --limit 50")
    audit.add_argument(
        "--limit", type=_parse_count, default=20, metavar="N", help="maximum number of actions (default: %(default)s)"
    )
    add("collections", commands.list_collections, "list the collections with their numbers of documents", "collections")
    add("account", commands.show_account, "show the account, what it stores and its quotas", "account")
    add("password", commands.change_password, "change the password; other devices must sign in again", "password")
    add("delete-account", commands.delete_account, "delete the account and everything in it", "delete-account")
    return parser


def _add_keys(keys: ArgumentParser) -> None:
    """Add the actions of `keys`. They leave options alone that stand before them."""
    shared = _make_shared_parser(argument_default=SUPPRESS)
    actions = keys.add_subparsers(metavar="ACTION")
    create = actions.add_parser("create", help="create a key and print its secret, once", parents=[shared])
    create.set_defaults(run=commands.create_key)
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--scope",
        action="append",
        dest="scopes",
        choices=("read", "write"),
        help="what the key may do; may be repeated (default: both)",
    )
    create.add_argument("--days", type=_parse_count, metavar="N", help="how long it is valid (default: no limit)")
    _add_collection_option(create, "let the key reach only this collection; may be repeated")
    revoke = actions.add_parser("revoke", help="revoke keys", parents=[shared])
    revoke.set_defaults(run=commands.revoke_keys)
    revoke.add_argument("ids", nargs="+", type=_parse_id, metavar="ID")


def _add_webhooks(webhooks: ArgumentParser) -> None:
    """Add the actions of `webhooks`. They leave options alone that stand before them."""
    shared = _make_shared_parser(argument_default=SUPPRESS)
    actions = webhooks.add_subparsers(metavar="ACTION")

    def add(name: str, run: commands.Command, text: str) -> ArgumentParser:
        action = actions.add_parser(name, help=text, description=text, parents=[shared])
        action.set_defaults(run=run)
        return action

    create = add("create", commands.create_webhook, "create a webhook and print the secret that signs events, once")
    create.add_argument("receiver", metavar="URL")
    create.add_argument(
        "--event",
        action="append",
        dest="events",
        choices=commands.EVENTS,
        help="send only this event; may be repeated (default: all)",
    )
    delete = add("delete", commands.delete_webhooks, "delete webhooks")
    delete.add_argument("ids", nargs="+", type=_parse_id, metavar="ID")
    deliveries = add("deliveries", commands.list_deliveries, "list the events of a webhook, newest first")
    deliveries.add_argument("--status", choices=("pending", "delivered", "dead"), help="show only those of this status")
    redeliver = add("redeliver", commands.redeliver, "send events again")
    for action in (deliveries, redeliver):
        action.add_argument("webhook_id", type=_parse_id, metavar="ID")
    redeliver.add_argument("ids", nargs="+", type=_parse_id, metavar="DELIVERY")


def _add_listing_options(status: ArgumentParser) -> None:
    status.add_argument("--name", metavar="TEXT", help="show only documents with this text in their file names")
    status.add_argument("--collection", type=_parse_id, metavar="ID", help="show only documents of this collection")
    status.add_argument("--filter", metavar="JSON", help="show only documents that satisfy this filter")
    status.add_argument("--sort", choices=commands.SORTS, help="the order (default: newest)")
    status.add_argument(
        "--limit", type=_parse_count, default=20, metavar="N", help="maximum number of documents (default: %(default)s)"
    )


def _add_collection_option(command: ArgumentParser, text: str) -> None:
    command.add_argument("--collection", action="append", dest="collections", type=_parse_id, metavar="ID", help=text)


def _make_shared_parser(argument_default: str | None = None) -> ArgumentParser:
    shared = ArgumentParser(add_help=False, argument_default=argument_default)
    shared.add_argument("--url", help=f"URL of the service (default: SLUICE_URL, or {DEFAULT_URL})")
    shared.add_argument(
        "--json",
        action="store_true",
        default=argument_default or False,
        help="print one JSON object per line; errors also, on standard error",
    )
    shared.add_argument(
        "--patience",
        type=_parse_patience,
        default=argument_default or PATIENCE_SECONDS,
        metavar="SECONDS",
        help=f"how long to retry each request while the service is unavailable (default: {PATIENCE_SECONDS:g})",
    )
    return shared


def _add_passage_options(command: ArgumentParser) -> None:
    command.add_argument(
        "--top-k", type=_parse_count, default=8, metavar="K", help="number of passages (default: %(default)s)"
    )
    command.add_argument(
        "--document",
        action="append",
        dest="documents",
        type=_parse_id,
        metavar="ID",
        help="use only this document; may be repeated",
    )
    _add_collection_option(command, "use only this collection; may be repeated")


def _parse_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ArgumentTypeError(f"{text} is not an ID") from None


def _parse_patience(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= MAX_PATIENCE_SECONDS:
        raise ArgumentTypeError(f"must be 0 to {MAX_PATIENCE_SECONDS} seconds")
    return seconds


def _parse_parallel(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_PARALLEL:
        raise ArgumentTypeError(f"must be 1 to {MAX_PARALLEL}")
    return number


def _parse_count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("must be 1 or more")
    return number


def run(arguments: Sequence[str], environment: Mapping[str, str], interrupts: Interrupts | None = None) -> int:
    """Run one command and return its exit code."""
    interrupts = interrupts or Interrupts()
    options = make_parser().parse_args(arguments)
    interrupts.as_json = options.json
    if options.command == "upload":
        interrupts.detail = "interrupted, uploaded files are kept; run the same command again to continue"
    ask_password = partial(_ask_for_password, interrupts)
    try:
        identity = identify(normalize_url(options.url or environment.get("SLUICE_URL") or DEFAULT_URL), environment)
        if options.command == "login":
            ask_for_credentials(identity, options, ask_password)
        if options.command in {"password", "delete-account"}:
            _confirm_password(identity, ask_password)
        if options.command == "password":
            options.new_password = environment.get("SLUICE_NEW_PASSWORD") or _choose_password(ask_password)
        return run_cancellable(_run(identity, options, ask_password), interrupts)
    except UnicodeEncodeError:
        error: SluiceError = UnusableInput("an argument contains bytes that are not valid text; retype it")
    except Unavailable as unavailable:
        problem = unavailable.problem
        error = Unavailable(replace(problem, detail=f"{problem.detail} (see --patience)"))
    except SluiceError as refusal:
        error = refusal
    if not interrupts.is_interrupted:  # the interrupt prints its own notice
        _print_problem(error.problem, as_json=options.json)
    return find_exit_code(error)


def run_cancellable(command: Coroutine[Any, Any, int], interrupts: Interrupts) -> int:
    """Run a command in an event loop of its own until it ends or is interrupted. Returns the exit code."""

    async def run_command() -> int:
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop is closed: the command has ended
                loop.call_soon_threadsafe(_cancel_tasks, loop)

        interrupts.cancel = cancel
        return await command

    try:
        return asyncio.run(run_command())
    except asyncio.CancelledError:
        return INTERRUPTED


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all tasks until they end: a task can lose one cancellation, for example while it handles a timeout."""
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(CANCEL_INTERVAL_SECONDS, _cancel_tasks, loop)


async def _run(identity: Identity, options: Namespace, ask_password: AskPassword) -> int:
    is_interactive = sys.stdin.isatty() and sys.stderr.isatty()
    async with Connection(identity, ask_password if is_interactive else None, options.patience) as connection:
        if sys.stderr.isatty():
            connection.tell = _print_note
        command: commands.Command = options.run
        return await command(connection, options)


def _print_note(note: str) -> None:
    if note:
        print(f"sluice: {clean(note)}", file=sys.stderr)


def ask_for_credentials(identity: Identity, options: Namespace, ask_password: AskPassword) -> None:
    """Complete the identity for `login`, with prompts if stdin is a terminal. Otherwise, the saved account counts.

    Raises UnusableInput if something is missing and stdin is not a terminal.
    """
    saved = identity.email if identity.has_session else None
    given = options.email or (None if saved else identity.email)
    if options.password_stdin:
        identity.password = sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        given = given or saved
    if not sys.stdin.isatty() and not (given and identity.password):
        raise UnusableInput(
            "standard input is not a terminal, so `login` cannot ask for credentials; "
            "set SLUICE_EMAIL and SLUICE_PASSWORD, or use --email and --password-stdin"
        )
    identity.email = given or _read_line(f"e-mail [{clean(saved)}]: " if saved else "e-mail: ") or saved
    if not identity.email:
        raise UnusableInput("no e-mail address was entered; run the command again")
    if identity.password is None:
        identity.password = ask_password(identity.email)
        if options.register and ask_password(f"{identity.email} (again)") != identity.password:
            raise UnusableInput("the passwords do not match; run the command again")


def _confirm_password(identity: Identity, ask_password: AskPassword) -> None:
    """Ask for the password of the account, although there may be a token."""
    if identity.password is None:
        _require_terminal("SLUICE_PASSWORD")
        identity.password = ask_password(identity.email or "your account")


def _choose_password(ask_password: AskPassword) -> str:
    _require_terminal("SLUICE_NEW_PASSWORD")
    password = ask_password("the account from now on")
    if ask_password("the account from now on (again)") != password:
        raise UnusableInput("the passwords do not match; run the command again")
    return password


def _require_terminal(variable: str) -> None:
    if not sys.stdin.isatty():
        raise UnusableInput(
            f"standard input is not a terminal, so the command cannot ask for a password; set {variable}"
        )


def _read_line(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _ask_for_password(interrupts: Interrupts, email: str) -> str:
    """Prompt for a password, also in the middle of a command.

    Raises Interrupted after Ctrl-C, UnusableInput at the end of the input.
    """
    try:
        with interrupts.at_prompt():
            return getpass.getpass(f"password for {clean(email)}: ")
    except EOFError:
        raise UnusableInput("no password was entered; run the command again") from None
    except KeyboardInterrupt:
        raise Interrupted from None


def _print_problem(problem: Problem, *, as_json: bool) -> None:
    if as_json:
        present = {name: value for name, value in asdict(problem).items() if value}
        print(msgspec.json.encode(present).decode(), file=sys.stderr)
        return
    fields = "".join(f"; {item.field} {item.message}" for item in problem.errors)
    request = f" (request {problem.request_id})" if problem.request_id else ""
    print(f"sluice: {clean(problem.detail)}{clean(fields)}{request}", file=sys.stderr)
