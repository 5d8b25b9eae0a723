"""`python -m api.client`: what is typed, and how it ends."""

import asyncio
import getpass
import io
import os
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from api.client import commands
from api.client.connection import PATIENCE_SECONDS, Connection
from api.client.display import clean
from api.client.errors import INTERRUPTED, ClientError, UnusableInput
from api.client.identity import DEFAULT_URL, Identity, identify, normalize_url
from api.client.messages import Problem

BROKEN_PIPE = 141
"""As of a program that SIGPIPE ends."""
MOST_PARALLEL = 32

DESCRIPTION = "Upload documents to a Sluice service, search them, ask them."
EPILOG = """\
environment:
  SLUICE_URL                     address of the service, unless --url names it
  SLUICE_TOKEN                   goes before the token that `login` keeps
  SLUICE_EMAIL, SLUICE_PASSWORD  sign in, and sign in again when a token runs out, without asking

exit codes:
  0    done
  1    refused, or a document failed
  2    what was typed cannot be used
  3    not signed in
  4    the service was unreachable or unavailable for all of --patience
  130  interrupted

example:
  python -m api.client login
  python -m api.client upload reports/*.pdf --wait
  python -m api.client ask "At what water level is the lock closed?"
"""


def make_parser() -> ArgumentParser:
    """Describe all that can be typed."""
    everywhere = ArgumentParser(add_help=False)
    everywhere.add_argument("--url", help=f"address of the service, else SLUICE_URL, else {DEFAULT_URL}")
    everywhere.add_argument("--json", action="store_true", help="print JSON, one object a line; errors too, on stderr")
    everywhere.add_argument(
        "--patience",
        type=_parse_patience,
        default=PATIENCE_SECONDS,
        metavar="SECONDS",
        help="for how long a service that does not answer is tried (default: %(default)g)",
    )
    parser = ArgumentParser(
        prog="python -m api.client",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    choices = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: commands.Command, text: str, example: str) -> ArgumentParser:
        command = choices.add_parser(
            name, help=text, description=text, parents=[everywhere], epilog=f"example: python -m api.client {example}"
        )
        command.set_defaults(run=run)
        return command

    login = add("login", commands.log_in, "get a token and keep it for the next commands", "login --register")
    login.add_argument("--email", help="else SLUICE_EMAIL, else it is asked for")
    login.add_argument("--register", action="store_true", help="open an account first")
    login.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    upload = add("upload", commands.upload, "upload files", "upload reports/*.pdf --wait")
    upload.add_argument("files", nargs="+", metavar="FILE")
    upload.add_argument("--wait", action="store_true", help="until each of them is searchable or has failed")
    upload.add_argument(
        "--parallel", type=_parse_parallel, default=4, metavar="N", help="files sent at a time (default: %(default)s)"
    )

    status = add("status", commands.status, "show the newest documents, or those named, with their errors", "status")
    status.add_argument("ids", nargs="*", type=_parse_id, metavar="ID")
    status.add_argument("--status", choices=("pending", "processing", "ready", "failed"), help="only those")
    status.add_argument("--limit", type=_parse_count, default=20, metavar="N", help="at most so many (default: 20)")

    search = add("search", commands.search, "show the passages that answer best", 'search "water level" --top-k 3')
    search.add_argument("query", metavar="QUERY")
    search.add_argument("--mode", choices=("hybrid", "vector", "keyword"), default="hybrid")

    ask = add("ask", commands.ask, "answer a question, citing passages", 'ask "When is the lock closed?"')
    ask.add_argument("question", metavar="QUESTION")
    for command in (search, ask):
        command.add_argument("--top-k", type=_parse_count, default=8, metavar="K", help="so many passages (default: 8)")
        command.add_argument(
            "--document",
            action="append",
            dest="documents",
            type=_parse_id,
            metavar="ID",
            help="only of this one; may be repeated",
        )

    again = add("retry", commands.retry, "have failed documents tried again", "retry 01999d1c-…")
    delete = add("delete", commands.delete, "delete documents and all that came of them", "delete 01999d1c-…")
    for command in (again, delete):
        command.add_argument("ids", nargs="+", type=_parse_id, metavar="ID")
    return parser


def _parse_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ArgumentTypeError(f"{text} is no id of a document") from None


def _parse_patience(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise ArgumentTypeError("must be 0 to 86400 seconds")
    return seconds


def _parse_parallel(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST_PARALLEL:
        raise ArgumentTypeError(f"must be 1 to {MOST_PARALLEL}")
    return number


def _parse_count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("must be 1 or more")
    return number


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command; returns the exit code."""
    options = make_parser().parse_args(arguments)
    try:
        identity = identify(normalize_url(options.url or environment.get("SLUICE_URL") or DEFAULT_URL), environment)
        if options.command == "login":
            _ask_for_credentials(identity, options)
        return asyncio.run(_run(identity, options))
    except UnicodeEncodeError:
        problem = UnusableInput("what was typed is not all text").problem
        _print_problem(problem, as_json=options.json)
        return UnusableInput.exit_code
    except ClientError as error:
        _print_problem(error.problem, as_json=options.json)
        return error.exit_code
    except KeyboardInterrupt:
        again = "; what is uploaded stays, and the same command goes on" if options.command == "upload" else ""
        _print_problem(Problem("interrupted", f"interrupted{again}"), as_json=options.json)
        return INTERRUPTED


async def _run(identity: Identity, options: Namespace) -> int:
    is_interactive = sys.stdin.isatty() and sys.stderr.isatty()
    async with Connection(identity, _ask_for_password if is_interactive else None, options.patience) as connection:
        if sys.stderr.isatty():
            connection.tell = _tell
        command: commands.Command = options.run
        return await command(connection, options)


def _tell(note: str) -> None:
    if note:
        print(f"sluice: {clean(note)}", file=sys.stderr)


def _ask_for_credentials(identity: Identity, options: Namespace) -> None:
    """Complete the identity for `login`, by asking where there is somebody to ask.

    Raises UnusableInput where there is nobody.
    """
    kept = identity.email if identity.has_session else None
    given = options.email or (None if kept else identity.email)
    if options.password_stdin:
        identity.password = sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty() and not (given and identity.password):
        raise UnusableInput(
            "nobody can be asked here: set SLUICE_EMAIL and SLUICE_PASSWORD, or use --email and --password-stdin"
        )
    identity.email = given or _read_line(f"e-mail [{clean(kept)}]: " if kept else "e-mail: ") or kept
    if not identity.email:
        raise UnusableInput("no e-mail address")
    if identity.password is None:
        identity.password = _ask_for_password(identity.email)
        if options.register and _ask_for_password(f"{identity.email} again") != identity.password:
            raise UnusableInput("the two passwords are not the same")


def _read_line(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _ask_for_password(email: str) -> str:
    """Ask at the terminal, also in the midst of other work: Ctrl-C then ends the question, and with it the command."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return getpass.getpass(f"password of {clean(email)}: ")
    except EOFError:
        raise UnusableInput("no password") from None
    finally:
        signal.signal(signal.SIGINT, before)


def _print_problem(problem: Problem, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(problem).decode(), file=sys.stderr)
        return
    fields = "".join(f"; {item.field} {item.message}" for item in problem.errors)
    number = f" (request {problem.request_id})" if problem.request_id else ""
    print(f"sluice: {clean(problem.detail)}{clean(fields)}{number}", file=sys.stderr)


def main() -> None:
    """Run what was typed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows another one
    try:
        code = run(sys.argv[1:], os.environ)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads us had enough. Nothing shall be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    sys.exit(code)


if __name__ == "__main__":
    main()
