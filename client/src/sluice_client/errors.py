"""Errors of the client. Each holds the problem that the service sent, or one of the same form.

SluiceError
├── UnusableInput      an argument is invalid, and nothing was sent
├── InvalidRequest     400, 405, 413, 415, 422: the service does not accept this request
├── NotAuthenticated   401: the key, token or password is not valid
├── Forbidden          403: not allowed, for example because of a quota
├── NotFound           404: unknown, or of another account
├── Conflict           409: does not fit the present state
├── RateLimited        429, until the patience ran out
├── Unavailable        unreachable, or unable to answer, until the patience ran out
├── AnswerUnavailable  503 answer_unavailable: the language model failed
├── ServerError        500: a bug of the service
├── UnexpectedAnswer   the answer is not one that Sluice sends
├── BrokenOff          a streamed answer was cut off
├── FileChanged        the file changed during its upload
├── WaitTimeout        a document or note was not ready in time
└── IngestionFailed    a document or note is `failed`
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """An invalid field of a request."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the service (RFC 9457). `code` is for programs, `detail` for people."""

    code: str
    detail: str
    status: int | None = None
    request_id: str | None = None
    errors: Sequence[FieldProblem] = ()


class SluiceError(Exception):
    """Root of the tree."""

    def __init__(self, problem: Problem) -> None:
        fields = "".join(f"; {item.field} {item.message}" for item in problem.errors)
        super().__init__(f"{problem.detail}{fields}")
        self.problem = problem

    @property
    def code(self) -> str:
        """The code of the problem, such as `not_found`."""
        return self.problem.code


class UnusableInput(SluiceError):
    """An argument is invalid. Nothing was sent."""

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("unusable_input", detail))


class InvalidRequest(SluiceError):
    """The service does not accept this request."""


class NotAuthenticated(SluiceError):
    """The key, token or password is missing or not valid."""


class Forbidden(SluiceError):
    """The caller may not do this."""


class NotFound(SluiceError):
    """There is no such thing, or it belongs to another account."""


class Conflict(SluiceError):
    """The request does not fit the present state."""


class RateLimited(SluiceError):
    """There were too many requests, and waiting as long as the service asks would take longer than the patience."""


class Unavailable(SluiceError):
    """The service was unreachable or unable to answer, at every attempt."""


class AnswerUnavailable(SluiceError):
    """The language model failed. The problem says why."""


class ServerError(SluiceError):
    """The service has a bug. Its log has the request id."""


class UnexpectedAnswer(SluiceError):
    """The answer is not one that Sluice sends. The URL may be wrong."""


class BrokenOff(SluiceError):
    """A streamed answer was cut off."""

    def __init__(self) -> None:
        super().__init__(Problem("broken_off", "the answer was cut off; ask again"))


class FileChanged(SluiceError):
    """The file changed during its upload."""

    def __init__(self) -> None:
        super().__init__(Problem("changed", "The file changed during the upload. Upload it again."))


class WaitTimeout(SluiceError):
    """A document or note was not ready in time. Its ingestion continues."""

    def __init__(self, detail: str) -> None:
        super().__init__(Problem("wait_timeout", detail))


class IngestionFailed(SluiceError):
    """A document or note is `failed`. The problem says why, and `id` names it."""

    def __init__(self, problem: Problem, failed_id: str) -> None:
        super().__init__(problem)
        self.id = failed_id


ERROR_OF_STATUS: dict[int, type[SluiceError]] = {
    400: InvalidRequest,
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    405: InvalidRequest,
    408: Unavailable,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    500: ServerError,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}
"""The errors for the statuses that Sluice, and a proxy before it, answer with."""


def make_error(problem: Problem) -> SluiceError:
    """Return the error for a problem of the service."""
    if problem.code == "answer_unavailable":
        return AnswerUnavailable(problem)
    return ERROR_OF_STATUS.get(problem.status or 0, SluiceError)(problem)
