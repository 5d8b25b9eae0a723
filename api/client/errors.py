"""Why a command ends early, and its exit code.

    ClientError
    ├── UnusableInput   2: what was typed cannot be used
    ├── NotSignedIn     3: no token, or none that is accepted
    ├── Unreachable     4: the service was silent or unavailable for as long as we had patience
    └── Refused         1: the service says no, and why

A document that failed is 1 as well, Ctrl-C is 130.
"""

from typing import ClassVar

from api.client.messages import Problem

DONE, FAILED, INTERRUPTED = 0, 1, 130


class ClientError(Exception):
    """Root of the tree: a problem for programs, whose `detail` is for people."""

    exit_code: ClassVar[int] = FAILED

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Refused(ClientError):
    """The service says no; the same again would not help."""


class UnusableInput(ClientError):
    """What was typed cannot be used; nothing was sent."""

    exit_code = 2

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("unusable_input", detail))


class NotSignedIn(ClientError):
    """There is no token, or it is not accepted and nobody can sign in again."""

    exit_code = 3

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("not_signed_in", detail))


class Unreachable(ClientError):
    """The service was silent or unavailable at every try."""

    exit_code = 4

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("unreachable", detail))
