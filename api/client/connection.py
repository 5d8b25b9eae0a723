"""Requests that outlast lost connections, an API that is restarted, limits, and tokens that run out."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import msgspec

from api.client.errors import ClientError, NotSignedIn, Refused, Unreachable
from api.client.identity import AskPassword, Identity
from api.client.messages import AccessToken, Problem

PATIENCE_SECONDS = 120.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
LONGEST_RETRY_AFTER_SECONDS = 120.0
PASSWORD_TRIES = 3

# An answer of a language model takes up to five minutes; everything else answers or is silent within a minute.
READ_SECONDS = 60.0
TIMEOUT = httpx2.Timeout(5.0, read=READ_SECONDS, write=30.0, pool=None)

AWAY_STATUSES = frozenset({408, 502, 503, 504, 507})
"""A bad connection, a proxy whose service is away, the service whose database is away or whose disk is full."""

Tell = Callable[[str], None]
Message = TypeVar("Message")


class Patience:
    """How long one request is tried again: pauses grow, and their sum has an end."""

    def __init__(self, seconds: float, tell: Tell) -> None:
        self._seconds = seconds
        self._tell = tell
        self._ends_at: float | None = None
        self._pause = FIRST_PAUSE_SECONDS

    async def wait(self, reason: str, retry_after: float | None = None) -> None:
        """Wait after a failure, for as long as the service asks for, or each time longer.

        Raises Unreachable, with the reason, where patience has come to its end.
        """
        now = monotonic()
        if self._ends_at is None:
            self._ends_at = now + self._seconds
        if now >= self._ends_at:
            raise Unreachable(reason)
        pause = self._pause * random.uniform(0.75, 1.25) if retry_after is None else retry_after  # noqa: S311 - jitter, not a secret
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        await self.wait_as_told(reason, min(pause, self._ends_at - now))

    async def wait_as_told(self, reason: str, seconds: float) -> None:
        """Wait where the service is well and says when to come again: that is no test of patience."""
        self._tell(f"{reason.rstrip('.')}; trying again in {max(1, round(seconds))} s")
        await asyncio.sleep(seconds)
        self._tell("")


class Connection(AbstractAsyncContextManager["Connection"]):
    """A caller's connection to one service.

    `ask_password` is None where nobody can be asked; `tell` hears why a request waits, and "" when it goes on.
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
        """Send a request, again and again where that can help, and return the answer that is no error.

        With `stream` the caller reads its body and closes it; `tell` hears of this request alone.
        Raises NotSignedIn, Unreachable, Refused.
        """
        patience = Patience(self._patience_seconds, tell or self.tell)
        is_token_new = False
        while True:
            token = await self._get_token()
            headers = {**options.get("headers", {}), "Authorization": f"Bearer {token}"}
            response = await self._try(patience, method, path, stream=stream, **{**options, "headers": headers})
            if response is None:
                is_token_new = False
                continue
            if response.status_code != httpx2.codes.UNAUTHORIZED:
                return _require_success(response)
            if is_token_new:
                raise NotSignedIn(f"the service does not accept its own token: {read_problem(response).detail}")
            await self._renew_token(token)
            is_token_new = True

    async def register(self, email: str, password: str) -> None:
        """Open an account.

        Raises Unreachable, Refused.
        """
        await self._send_credentials("/v1/auth/register", email, password)

    async def log_in(self, email: str, password: str) -> str:
        """Return a token.

        Raises NotSignedIn where the password is wrong, Unreachable, Refused.
        """
        response = await self._send_credentials("/v1/auth/login", email, password)
        return decode(response, AccessToken).access_token

    async def _send_credentials(self, path: str, email: str, password: str) -> httpx2.Response:
        patience = Patience(self._patience_seconds, self.tell)
        while True:
            response = await self._try(patience, "POST", path, json={"email": email, "password": password})
            if response is None:
                continue
            if response.status_code == httpx2.codes.UNAUTHORIZED:
                raise NotSignedIn(read_problem(response).detail)
            return _require_success(response)

    async def _try(
        self, patience: Patience, method: str, path: str, *, stream: bool = False, **options: Any
    ) -> httpx2.Response | None:
        """Send once; None after a pause where it is worth another try.

        Raises Unreachable where patience has come to its end.
        """
        request = self._http.build_request(method, path, **options)
        try:
            response = await self._http.send(request, stream=True)
            if not stream or response.is_error:
                await response.aread()
        except httpx2.LocalProtocolError:
            raise  # the body is not what we announced: the caller knows why
        except httpx2.RequestError as error:
            reason = f"{self.identity.url} does not answer ({_explain(error)})"
            await patience.wait(reason)
            return None
        if response.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            seconds = _read_retry_after(response) or LONGEST_PAUSE_SECONDS
            await patience.wait_as_told(read_problem(response).detail, seconds)
            return None
        if response.status_code in AWAY_STATUSES:
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
        """Sign in again, once for all who wait.

        Raises NotSignedIn.
        """
        async with self._signing_in:
            if self.identity.token != rejected:
                return
            email = self.identity.email
            if email is None:
                raise NotSignedIn(
                    "the token is not accepted, and nobody knows whose it was: set SLUICE_TOKEN to a new one"
                    if rejected
                    else "not signed in: run `python -m api.client login`, or set SLUICE_TOKEN"
                )
            if self.identity.password:
                self.identity.renew(await self.log_in(email, self.identity.password), self.identity.password)
                return
            await self._ask_and_renew(email)

    async def _ask_and_renew(self, email: str) -> None:
        if self.ask_password is None:
            raise NotSignedIn(
                f"the token of {email} has run out: run `python -m api.client login` and then the same command again, "
                "or set SLUICE_PASSWORD"
            )
        tries = PASSWORD_TRIES
        while True:
            # On purpose in the event loop: nothing goes on without a token, and Ctrl-C reaches the prompt.
            password = self.ask_password(email)
            try:
                self.identity.renew(await self.log_in(email, password), password)
            except NotSignedIn as error:
                tries -= 1
                if not tries:
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
    """Why an answer is an error; whatever answered may not be this service at all."""
    try:
        return msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        origin = f"{response.url.scheme}://{response.url.netloc.decode()}"
        detail = f"{origin} answered {response.status_code} {response.reason_phrase}, and not as Sluice does"
        return Problem("unexpected_answer", detail, response.status_code)


def decode(response: httpx2.Response, kind: type[Message]) -> Message:
    """Read the body of an answer.

    Raises ClientError where it is not what this service says.
    """
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError:
        raise ClientError(Problem("unexpected_answer", f"{response.url.path} did not answer as Sluice does")) from None


def _read_retry_after(response: httpx2.Response) -> float | None:
    """Seconds that the service wants to be left alone; a date counts as not said."""
    value = response.headers.get("retry-after", "")
    if not (value.isascii() and value.isdecimal() and len(value) < 6):
        return None
    return min(float(value), LONGEST_RETRY_AFTER_SECONDS)


def _explain(error: httpx2.RequestError) -> str:
    match error:
        case httpx2.ConnectError():
            return "no connection"
        case httpx2.TimeoutException():
            return "too slow"
        case _:
            return "the connection was lost"
