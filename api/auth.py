"""Authentication: every route requires an access token or an API key unless it is marked `PUBLIC`.

Routes that are marked `FOR_LIBRECHAT` require a token of LibreChat instead, which no other route accepts.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Headers, State
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from api.http.addresses import find_address
from api.tokens import LibreChatTokens, Tokens
from pipeline.errors import NotAuthenticated
from pipeline.networks import find_network
from pipeline.runtime import Waits
from pipeline.types import Caller, Identity, Scope
from pipeline.use_cases.api_keys import is_secret
from pipeline.use_cases.chat_files import FileOwner, OwnerKind
from pipeline.use_cases.key_checks import ApiKeys
from pipeline.use_cases.sessions import Sessions

PUBLIC = {"public": True}
"""Route option: neither token nor key is required."""

FOR_LIBRECHAT = {"librechat": True}
"""Route option: a token of LibreChat is required, and nothing else is accepted."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """The access token of a request, and whom it was issued for."""

    token: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class KeyCredential:
    """The hash of the API key of a request, and what the key may do."""

    digest: bytes
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class LibreChatCredential:
    """The token of a request from LibreChat, and the user of LibreChat that it names."""

    token: str
    owner: FileOwner


Credential = TokenCredential | KeyCredential | LibreChatCredential

UserRequest = Request[Caller, Credential, State]
"""An authenticated request: `request.user` is the caller."""


def find_bearer_token(headers: Headers) -> str | None:
    """Return the token in the `Authorization` header, or None if it has no bearer token."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Checks `Authorization: Bearer <token>`. Routes opt out one by one; no path pattern is excluded."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Return the caller and the credential.

        Raises NotAuthenticated if the token or key is missing or not valid, DatabaseUnavailable if it cannot be
        checked, Overloaded if too many unknown keys are waiting.
        """
        token = find_bearer_token(connection.headers)
        if token is None:
            raise NotAuthenticated("No access token or API key was sent. Send it as `Authorization: Bearer <token>`.")
        if FOR_LIBRECHAT.items() <= connection.route_handler.opt.items():
            owner = FileOwner(OwnerKind.USER, _get_librechat_tokens(connection).verify(token))
            return AuthenticationResult(user=owner.caller, auth=LibreChatCredential(token, owner))
        if is_secret(token):
            keys: ApiKeys = connection.app.state.api_keys
            digest, grant = await keys.accept(token, find_network(find_address(connection)))
            return AuthenticationResult(user=grant.caller, auth=KeyCredential(digest, grant.scopes))
        tokens: Tokens = connection.app.state.tokens
        sessions: Sessions = connection.app.state.sessions
        identity = tokens.verify(token)
        await sessions.require_current(identity)
        return AuthenticationResult(user=Caller(identity.user_id), auth=TokenCredential(token, identity))


def _get_librechat_tokens(connection: ASGIConnection[Any, Any, Any, Any]) -> LibreChatTokens:
    tokens: LibreChatTokens = connection.app.state.librechat_tokens
    return tokens


async def require_valid(request: UserRequest) -> None:
    """Check the token or key again after the body has arrived. The client decides how long that takes.

    Raises NotAuthenticated, also if the token has expired, or DatabaseUnavailable if it cannot be checked.
    """
    if isinstance(request.auth, TokenCredential):
        tokens: Tokens = request.app.state.tokens
        tokens.verify(request.auth.token)
    elif isinstance(request.auth, LibreChatCredential):
        _get_librechat_tokens(request).verify(request.auth.token)
    await require_current(request)


async def require_current(request: UserRequest) -> None:
    """Check again, during a long request, that the token or key has not ended. A token may have expired meanwhile.

    A token of LibreChat cannot end earlier. Raises NotAuthenticated, or DatabaseUnavailable if it cannot be checked.
    """
    if isinstance(request.auth, KeyCredential):
        keys: ApiKeys = request.app.state.api_keys
        await keys.require_current(request.auth.digest)
    elif isinstance(request.auth, TokenCredential):
        sessions: Sessions = request.app.state.sessions
        await sessions.require_current(request.auth.identity)


async def work_while_current(request: UserRequest, work: Awaitable[Result]) -> Result:
    """Return the result of `work`, if the token or key has not ended then. If it ends earlier, cancel the work.

    Raises the errors of `require_current`.
    """
    waits: Waits = request.app.state.runtime.waits
    seconds = waits.key_check if isinstance(request.auth, KeyCredential) else waits.token_check
    working = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait((working,), timeout=seconds))[0]:
            await require_current(request)
        await require_current(request)
        return working.result()
    finally:
        working.cancel()
        # An asynchronous generator that is still running could not be closed.
        await asyncio.gather(working, return_exceptions=True)
