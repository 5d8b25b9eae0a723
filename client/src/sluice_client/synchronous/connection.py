# Written by client/make_synchronous.py from sluice_client/asynchronous. Change that file instead.
"""Requests that are retried after a lost connection, a restart, a rate limit or an expired token."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2

from sluice_client.errors import FileChanged, NotAuthenticated, Problem
from sluice_client.models import AccessToken
from sluice_client.responses import decode, make_error_of, require_success
from sluice_client.retries import Attempts, Patience

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
WRITE_SECONDS = 30.0
PAGE_LIMIT = 100
"""Items of one page of a listing."""

SignIn = Callable[["Connection", bool], str]
"""Returns a new token. It is told whether the service rejected the old one. Raises SluiceError."""
Tell = Callable[[str], None]
"""Is called with the reason when a request waits, and with "" when it continues."""


def make_timeout(read_seconds: float) -> httpx2.Timeout:
    """Return the timeouts of a request."""
    return httpx2.Timeout(CONNECT_SECONDS, read=read_seconds, write=WRITE_SECONDS, pool=None)


class Connection:
    """A connection to one service, with a token that is renewed if it expires."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        sign_in: SignIn | None = None,
        patience: Patience = Patience(),  # noqa: B008 - it never changes
        read_seconds: float = READ_SECONDS,
        tell: Tell = lambda _: None,
    ) -> None:
        self.url = url
        self.token = token
        self.tell = tell
        self._sign_in = sign_in
        self._signing_in = threading.Lock()
        self._patience = patience
        self._http = httpx2.Client(base_url=url, timeout=make_timeout(read_seconds))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool = True,
        stream: bool = False,
        tell: Tell | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx2.Response:
        """Send a request with retries and return the successful response.

        Set `repeatable` to False if the request must not be carried out twice. With `stream`, the caller reads the
        body and closes the response. `tell` replaces the connection's own for this request. Raises SluiceError.
        """
        attempts = Attempts(self._patience, repeatable=repeatable)
        rejected: str | None = None
        while True:
            pauses = attempts.pauses
            token = self._get_token(rejected)
            sent = {**(headers or {}), "Authorization": f"Bearer {token}"}
            response = self._try(attempts, tell or self.tell, method, path, stream, {**options, "headers": sent})
            if response.status_code != httpx2.codes.UNAUTHORIZED:
                return require_success(response)
            # During a pause, the service may have got another secret.
            if self._sign_in is None or (rejected is not None and attempts.pauses == pauses):
                raise make_error_of(response)
            rejected = token

    def send_without_token(self, method: str, path: str, *, repeatable: bool = True, **options: Any) -> httpx2.Response:
        """Send a request that needs no token, with retries, and return the successful response.

        Raises SluiceError.
        """
        attempts = Attempts(self._patience, repeatable=repeatable)
        return require_success(self._try(attempts, self.tell, method, path, False, options))

    def log_in(self, email: str, password: str) -> str:
        """Return a new token.

        Raises NotAuthenticated if the password is wrong, and other errors.
        """
        credentials = {"email": email, "password": password}
        response = self.send_without_token("POST", "/v1/auth/login", json=credentials)
        return decode(response, AccessToken).access_token

    def list_items(self, path: str, limit: int | None, parameters: Mapping[str, Any], page: type[Any]) -> Iterator[Any]:
        """Yield the items of a listing, page by page, at most `limit`. Raises SluiceError."""
        remaining = limit
        query = dict(parameters)
        while remaining is None or remaining > 0:
            query["limit"] = PAGE_LIMIT if remaining is None else min(PAGE_LIMIT, remaining)
            found = decode(self.send("GET", path, params=query), page)
            for item in found.items:
                yield item
            if remaining is not None:
                remaining -= len(found.items)
            if found.next_cursor is None:
                return
            query["cursor"] = found.next_cursor

    def _try(
        self, attempts: Attempts, tell: Tell, method: str, path: str, stream: bool, options: dict[str, Any]
    ) -> httpx2.Response:
        """Send a request until there is a response that a repetition would not change."""
        while True:
            request = self._http.build_request(method, path, **options)
            try:
                response = self._http.send(request, stream=True)
                if not stream or response.is_error:
                    response.read()
                pause = attempts.judge_response(response)
            except httpx2.LocalProtocolError:
                raise FileChanged from None
            except httpx2.RequestError as error:
                pause = attempts.judge_failure(self.url, error)
            if pause is None:
                return response
            tell(pause.describe())
            time.sleep(pause.seconds)
            tell("")

    def _get_token(self, rejected: str | None) -> str:
        """Return a token other than the rejected one. One sign-in serves all requests that need it."""
        with self._signing_in:
            if self.token is None or self.token == rejected:
                if self._sign_in is None:
                    raise NotAuthenticated(Problem("not_authenticated", "no key, token or password was given"))
                self.token = self._sign_in(self, rejected is not None)
            return self.token
