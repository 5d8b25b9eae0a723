"""Requests that are retried after a lost connection, a restart, a rate limit or an expired token."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import msgspec

from sluice_command.errors import ClientError, NotSignedIn, Refused, Unreachable
from sluice_command.identity import AskPassword, Identity
from sluice_command.messages import AccessToken, Problem

PATIENCE_SECONDS = 120.0
MIN_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 10.0
MAX_RETRY_AFTER_SECONDS = 120.0
MAX_PASSWORD_ATTEMPTS = 3

TIMEOUT = httpx2.Timeout(5.0, read=60.0, write=30.0, pool=None)
"""Seconds for a connection, a read and a write. Answers of a language model have their own timeout."""

UNAVAILABLE_STATUSES = frozenset({408, 502, 503, 504, 507})
"""Retried: a slow upload, a proxy without its service, and a service without its database or with a full disk."""

Tell = Callable[[str], None]
Message = TypeVar("Message")


class Patience:
    """Retries of one request: the pauses grow, and their sum is bounded."""

    def __init__(self, seconds: float, tell: Tell) -> None:
        self._seconds = seconds
        self._tell = tell
        self._ends_at: float | None = None
        self._pause = MIN_PAUSE_SECONDS

    async def wait(self, reason: str, retry_after: float | None = None) -> None:
        """Pause after a failure, for `retry_after` seconds or longer each time.

        Raises Unreachable if the time is up.
        """
        now = monotonic()
        if self._ends_at is None:
            self._ends_at = now + self._seconds
        if now >= self._ends_at:
            raise Unreachable(f"{reason.rstrip('.')}; gave up after {self._seconds:g} s (see --patience)")
        # Jitter keeps clients from retrying in step.
        pause = self._pause * random.uniform(0.75, 1.25) if retry_after is None else retry_after  # noqa: S311 - jitter, not a secret
        self._pause = min(self._pause * 2, MAX_PAUSE_SECONDS)
        await self.wait_for_limit(reason, min(pause, self._ends_at - now))

    async def wait_for_limit(self, reason: str, seconds: float) -> None:
        """Pause for as long as the service asks. This does not count towards `--patience`."""
        self._tell(f"{reason.rstrip('.')}; retrying in {max(1, round(seconds))} s")
        await asyncio.sleep(seconds)
        self._tell("")


class Connection(AbstractAsyncContextManager["Connection"]):
    """A signed-in connection to one service.

    `ask_password` is None if there is no terminal. `tell` is called with the reason when a request waits, and with ""
    when it continues.
    """

    def __init__(self, identity: Identity, ask_password: AskPassword | None, patience_seconds: float) -> None:
        self.identity = identity
        self.tell: Tell = lambda _: None
        self.ask_password = ask_password
        self._patience_seconds = patience_seconds
        self._signing_in = asyncio.Lock()
        self._http = httpx2.AsyncClient(base_url=identity.url, timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def send(
        self, method: str, path: str, *, stream: bool = False, tell: Tell | None = None, **options: Any
    ) -> httpx2.Response:
        """Send a request with retries and return the successful response.

        With `stream`, the caller reads the body and closes the response. `tell` replaces the connection's own for this
        request. Raises NotSignedIn, Unreachable, Refused.
        """
        patience = Patience(self._patience_seconds, tell or self.tell)
        is_token_fresh = False
        while True:
            token = await self._get_token()
            headers = {**options.get("headers", {}), "Authorization": f"Bearer {token}"}
            response = await self._try(patience, method, path, stream=stream, **{**options, "headers": headers})
            if response is None:
                is_token_fresh = False
                continue
            if response.status_code != httpx2.codes.UNAUTHORIZED:
                return _require_success(response)
            if is_token_fresh:
                raise NotSignedIn(f"the service rejected the token it just issued: {read_problem(response).detail}")
            await self._renew_token(token)
            is_token_fresh = True

    async def register(self, email: str, password: str) -> None:
        """Create an account, with the invitation if there is one.

        Raises Unreachable, Refused.
        """
        invitation = {"invitation": self.identity.invitation} if self.identity.invitation else {}
        try:
            await self._send_credentials("/v1/auth/register", {"email": email, "password": password, **invitation})
        except Refused as error:
            if error.problem.code != "registration_closed":
                raise
            detail = f"{error.problem.detail} Then set SLUICE_INVITATION to the link and run this command again."
            raise Refused(msgspec.structs.replace(error.problem, detail=detail)) from None

    async def log_in(self, email: str, password: str) -> str:
        """Return a new token.

        Raises NotSignedIn if the password is wrong, Unreachable, Refused.
        """
        response = await self._send_credentials("/v1/auth/login", {"email": email, "password": password})
        return decode(response, AccessToken).access_token

    async def _send_credentials(self, path: str, credentials: dict[str, str]) -> httpx2.Response:
        patience = Patience(self._patience_seconds, self.tell)
        while True:
            response = await self._try(patience, "POST", path, json=credentials)
            if response is None:
                continue
            if response.status_code == httpx2.codes.UNAUTHORIZED:
                raise NotSignedIn(read_problem(response).detail)
            return _require_success(response)

    async def _try(
        self, patience: Patience, method: str, path: str, *, stream: bool = False, **options: Any
    ) -> httpx2.Response | None:
        """Send a request once. Returns None, after a pause, if it should be sent again.

        Raises Unreachable if the time for retries is up, Refused.
        """
        request = self._http.build_request(method, path, **options)
        try:
            response = await self._http.send(request, stream=True)
            if not stream or response.is_error:
                await response.aread()
        except httpx2.LocalProtocolError:
            raise  # the file changed during the upload: the caller reports it
        except httpx2.RequestError as error:
            reason = f"{self.identity.url} does not answer ({_explain(error)})"
            await patience.wait(reason)
            return None
        if response.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            seconds = _read_retry_after(response) or MAX_PAUSE_SECONDS
            await patience.wait_for_limit(read_problem(response).detail, seconds)
            return None
        if response.status_code in UNAVAILABLE_STATUSES:
            problem = read_problem(response)
            if problem.code == "answer_unavailable":
                raise Refused(problem)
            await patience.wait(problem.detail, _read_retry_after(response))
            return None
        return response

    async def _get_token(self) -> str:
        if self.identity.token is None:
            await self._renew_token(None)
        if self.identity.token is None:
            raise NotSignedIn("no token")
        return self.identity.token

    async def _renew_token(self, rejected: str | None) -> None:
        """Sign in again, once for all requests that need it.

        Raises NotSignedIn, Unreachable, Refused, UnusableInput, Interrupted.
        """
        async with self._signing_in:
            if self.identity.token != rejected:
                return
            email = self.identity.email
            if email is None:
                raise NotSignedIn(
                    "the service rejected the token; set SLUICE_TOKEN to a new one"
                    if rejected
                    else "not signed in; run `sluice login`, or set SLUICE_TOKEN"
                )
            if self.identity.password:
                self.identity.renew(await self.log_in(email, self.identity.password), self.identity.password)
                return
            await self._ask_and_renew(email, rejected=rejected is not None)

    async def _ask_and_renew(self, email: str, *, rejected: bool) -> None:
        if self.ask_password is None:
            reason = f"the token of {email} has expired" if rejected else f"not signed in as {email}"
            raise NotSignedIn(f"{reason}; run `sluice login` and then the same command again, or set SLUICE_PASSWORD")
        attempts_left = MAX_PASSWORD_ATTEMPTS
        while True:
            # The prompt blocks the event loop on purpose: no request can continue without a token.
            password = self.ask_password(email)
            try:
                self.identity.renew(await self.log_in(email, password), password)
            except NotSignedIn as error:
                attempts_left -= 1
                if not attempts_left:
                    raise
                self.tell(str(error))
            else:
                self.tell("")
                return


def _require_success(response: httpx2.Response) -> httpx2.Response:
    if not response.is_success:
        raise Refused(read_problem(response))
    return response


def read_problem(response: httpx2.Response) -> Problem:
    """Return the problem in an error response, or one that says that the response is not from Sluice."""
    try:
        return msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        origin = f"{response.url.scheme}://{response.url.netloc.decode()}"
        detail = f"{origin} answered {response.status_code} {response.reason_phrase}, not as Sluice does; check the URL"
        return Problem("unexpected_answer", detail, response.status_code)


def decode(response: httpx2.Response, kind: type[Message]) -> Message:
    """Decode the body of a response.

    Raises ClientError if it is not one that Sluice sends.
    """
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError:
        raise make_unexpected_answer(response) from None


def make_unexpected_answer(response: httpx2.Response) -> ClientError:
    """Return the error for a successful response that Sluice does not send."""
    detail = f"the response to {response.url.path} is not one that Sluice sends; check the URL"
    return ClientError(Problem("unexpected_answer", detail))


def _read_retry_after(response: httpx2.Response) -> float | None:
    """Return the seconds in Retry-After. A date is ignored."""
    value = response.headers.get("retry-after", "")
    if not (value.isascii() and value.isdecimal() and len(value) < 6):
        return None
    return min(float(value), MAX_RETRY_AFTER_SECONDS)


def _explain(error: httpx2.RequestError) -> str:
    match error:
        case httpx2.ConnectError():
            return "connection failed"
        case httpx2.TimeoutException():
            return "timed out"
        case _:
            return "connection lost"
