"""Turns every error into an `application/problem+json` response (RFC 9457); one table maps errors to statuses."""

import re
from collections.abc import Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from api.http.request_ids import get_request_id
from pipeline.errors import (
    AnswerUnavailable,
    Conflict,
    DatabaseUnavailable,
    FieldError,
    Forbidden,
    IngestionError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    PageImageFailed,
    SluiceError,
    StorageFull,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unavailable,
    UnsupportedMedia,
)
from pipeline.logs import get_logger
from pipeline.types import Passage

STATUS_OF_ERROR: dict[type[SluiceError], int] = {
    TooLarge: 413,
    UnsupportedMedia: 415,
    InvalidInput: 422,
    TooSlow: 408,
    TooManyRequests: 429,
    NotAuthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    StorageFull: 507,
    Unavailable: 503,
    IngestionError: 422,
    PageImageFailed: 422,
}
"""The first matching class wins, so subclasses come before their parents."""

CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
}
"""`code` for each status of an error that Litestar raises."""

SEE_ERRORS = " Correct the fields listed in `errors`."
"""How a `detail` ends that refers to the list of invalid fields."""

log = get_logger()


class ErrorObject(msgspec.Struct):
    """The same error as OpenAI's SDKs read it. `param` names the first invalid field, or is null."""

    message: str
    type: str
    param: str | None
    code: str


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of every error response."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    error: ErrorObject
    errors: list[FieldError] = []
    passages: list[Passage] = []


def make_problem(status: int, detail: str, code: str, request_id: str, errors: Sequence[FieldError] = ()) -> Problem:
    """Return the body of an error response."""
    param = errors[0].field if errors else None
    return Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        error=ErrorObject(spell_out(detail, errors), _name_type(status), param, code),
        errors=list(errors),
    )


def spell_out(detail: str, errors: Sequence[FieldError]) -> str:
    """Return a message that says what is wrong with which field, for programs that do not show the list `errors`."""
    message = detail.removesuffix(SEE_ERRORS)
    if message == detail or not errors:
        return detail
    return " ".join([message, *(f"`{error.field}`: {error.message}." for error in errors)])


def _name_type(status: int) -> str:
    """Return the type of an error in OpenAI's words."""
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return "authentication_error"
        case HTTPStatus.FORBIDDEN:
            return "permission_error"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
        case _:
            return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"


def answer_known_error(request: Request[Any, Any, Any], error: SluiceError) -> Response[Problem]:
    """Return the response for an error from `pipeline.errors`."""
    status = next(status for kind, status in STATUS_OF_ERROR.items() if isinstance(error, kind))
    headers: dict[str, str] = {}
    errors: tuple[FieldError, ...] = ()
    if isinstance(error, InvalidInput):
        errors = error.errors
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Conflict):
        # Otherwise, the SDKs of OpenAI would send the request twice more.
        headers["X-Should-Retry"] = "false"
    if isinstance(error, Unavailable | TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, DatabaseUnavailable):
        log.warning("database.unavailable", cause=repr(error.__cause__), request_id=get_request_id(request.scope))
    response = _answer(request, status, error.message, error.code, errors, headers)
    if isinstance(error, AnswerUnavailable):
        response.content.passages = list(error.passages)
    return response


def answer_framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Return the response for an error that Litestar raises: unknown path, wrong method or invalid input."""
    if isinstance(error, ValidationException) or error.status_code == HTTPStatus.BAD_REQUEST:
        detail = "The request is invalid. Correct the fields listed in `errors`."
        return _answer(request, 422, detail, "invalid_input", _list_field_errors(error))
    status = error.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return answer_unforeseen_error(request, error)
    detail = {
        404: "This path does not exist. Check the URL.",
        405: "This path does not support this method. The `Allow` header lists the methods it supports.",
        413: "The request body is too large. Send a smaller one.",
        415: "This content type is not supported here. Check the `Content-Type` header.",
    }.get(status, HTTPStatus(status).phrase)
    return _answer(request, status, detail, CODES.get(status, "error"), headers=dict(error.headers or {}))


def answer_like_openai(request: Request[Any, Any, Any], error: SluiceError | HTTPException) -> Response[Problem]:
    """Return the response as on other routes, but 400 for invalid input, which SDKs raise as a bad request."""
    answer = answer_known_error if isinstance(error, SluiceError) else answer_framework_error
    response = answer(request, error)  # type: ignore[arg-type]  # the condition decides the type
    if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        response.status_code = response.content.status = HTTPStatus.BAD_REQUEST.value
        response.content.title = HTTPStatus.BAD_REQUEST.phrase
    return response


LIKE_OPENAI: MutableMapping[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]] = {
    SluiceError: answer_like_openai,
    HTTPException: answer_like_openai,
}
"""The exception handlers of routes in the format of OpenAI."""


def answer_unforeseen_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Return the response for a bug: details go to the log, and the caller gets the request id to report."""
    request_id = get_request_id(request.scope)
    log.error("request.crashed", request_id=request_id, path=request.url.path, exc_info=error)
    detail = "Something went wrong on the server. Report this error with its `request_id`."
    return _answer(request, 500, detail, "internal_error")


def _list_field_errors(error: HTTPException) -> tuple[FieldError, ...]:
    extra = error.extra if isinstance(error.extra, list) else []
    field_errors = tuple(
        FieldError(str(item.get("key") or "body"), say_plainly(str(item.get("message") or "is invalid")))
        for item in extra
        if isinstance(item, dict)
    )
    return field_errors or (FieldError("body", "is not valid for this path"),)


def say_plainly(message: str) -> str:
    """Return a message of msgspec about the length of a text without the name of Python's type. Others stay."""
    if found := re.fullmatch(r"Expected `str` of length (<=|>=) (\d+)", message):
        return f"must have at {'most' if found[1] == '<=' else 'least'} {found[2]} characters"
    return message


def _answer(
    request: Request[Any, Any, Any],
    status: int,
    detail: str,
    code: str,
    errors: tuple[FieldError, ...] = (),
    headers: dict[str, str] | None = None,
) -> Response[Problem]:
    if not errors and status == HTTPStatus.UNPROCESSABLE_ENTITY:
        errors = (FieldError("body", detail),)
    problem = make_problem(status, detail, code, get_request_id(request.scope), errors)
    return Response(problem, status_code=status, headers=headers, media_type="application/problem+json")
