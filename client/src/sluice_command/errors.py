"""Errors that end a command, with their exit codes.

    ClientError
    ├── UnusableInput   2: an argument or a setting is invalid
    ├── NotSignedIn     3: no token, or the service rejects it
    ├── Unreachable     4: the service was unreachable or unavailable until --patience ran out
    ├── Interrupted   130: Ctrl-C at a password prompt
    └── Refused         1: the service refused the request

A command also exits with 1 if a document failed, and with 130 after Ctrl-C.
"""

from typing import ClassVar

from sluice_command.interrupts import INTERRUPTED
from sluice_command.messages import Problem

DONE, FAILED = 0, 1


class ClientError(Exception):
    """Root of the tree. Holds a problem, whose `detail` is for people and whose `code` is for programs."""

    exit_code: ClassVar[int] = FAILED

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Refused(ClientError):
    """The service refused the request. Sending it again would not help."""


class UnusableInput(ClientError):
    """An argument or a setting is invalid. Nothing was sent."""

    exit_code = 2

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("unusable_input", detail))


class NotSignedIn(ClientError):
    """There is no token, or the service rejects it and the client cannot sign in again."""

    exit_code = 3

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("not_signed_in", detail))


class Unreachable(ClientError):
    """The service was unreachable or unavailable at every attempt."""

    exit_code = 4

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("unreachable", detail))


class Interrupted(ClientError):
    """The user pressed Ctrl-C at a password prompt."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__(Problem("interrupted", "interrupted"))
