"""Reads responses: their results and their problems."""

from typing import TypeVar

import httpx2
import msgspec

from sluice_client.errors import Problem, SluiceError, UnexpectedAnswer, make_error

MAX_RETRY_AFTER_SECONDS = 120.0

Result = TypeVar("Result")


def require_success(response: httpx2.Response) -> httpx2.Response:
    """Return the response.

    Raises SluiceError if it is not a success.
    """
    if not response.is_success:
        raise make_error_of(response)
    return response


def make_error_of(response: httpx2.Response) -> SluiceError:
    """Return the error for a response that is not a success."""
    problem = read_problem(response)
    return UnexpectedAnswer(problem) if problem.code == "unexpected_answer" else make_error(problem)


def read_problem(response: httpx2.Response) -> Problem:
    """Return the problem in an error response, or one that says that the response is not from Sluice."""
    try:
        return decode_json(response.content, Problem)
    except msgspec.DecodeError:
        origin = f"{response.url.scheme}://{response.url.netloc.decode()}"
        detail = f"{origin} answered {response.status_code} {response.reason_phrase}, not as Sluice does; check the URL"
        return Problem("unexpected_answer", detail, response.status_code)


def decode(response: httpx2.Response, kind: type[Result]) -> Result:
    """Decode the body of a response.

    Raises UnexpectedAnswer if it is not one that Sluice sends.
    """
    try:
        return decode_json(response.content, kind)
    except msgspec.DecodeError:
        raise make_unexpected_answer(response) from None


def decode_json(data: bytes | str, kind: type[Result]) -> Result:
    """Decode JSON, without fields that are unknown.

    Raises msgspec.DecodeError.
    """
    return msgspec.json.decode(data, type=kind)


def make_unexpected_answer(response: httpx2.Response) -> UnexpectedAnswer:
    """Return the error for a successful response that Sluice does not send."""
    detail = f"the response to {response.url.path} is not one that Sluice sends; check the URL"
    return UnexpectedAnswer(Problem("unexpected_answer", detail))


def read_retry_after(response: httpx2.Response) -> float | None:
    """Return the seconds in Retry-After. A date is ignored."""
    value = response.headers.get("retry-after", "")
    if not (value.isascii() and value.isdecimal() and len(value) < 6):
        return None
    return min(float(value), MAX_RETRY_AFTER_SECONDS)
