"""Exit codes of the errors that end a command, and an error of the command itself.

A command also exits with 1 if a document failed, and with 130 after Ctrl-C.
"""

from sluice_client.errors import NotAuthenticated, Problem, SluiceError, Unavailable, UnusableInput
from sluice_command.interrupts import INTERRUPTED

DONE, FAILED = 0, 1


class Interrupted(SluiceError):
    """The user pressed Ctrl-C at a password prompt."""

    def __init__(self) -> None:
        super().__init__(Problem("interrupted", "interrupted"))


class NotSignedIn(NotAuthenticated):
    """There is no token, or the service rejects it and the command cannot sign in again."""

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("not_signed_in", detail))


EXIT_CODES: dict[type[SluiceError], int] = {
    UnusableInput: 2,
    NotAuthenticated: 3,
    Unavailable: 4,
    Interrupted: INTERRUPTED,
}


def find_exit_code(error: SluiceError) -> int:
    """Return the exit code for an error: 1 if the service refused the request."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FAILED)
