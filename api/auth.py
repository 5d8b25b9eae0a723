"""Authentication: every route requires a bearer token unless it is marked `PUBLIC`."""

from typing import Any
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from api.tokens import Tokens
from pipeline.errors import NotAuthenticated

PUBLIC = {"public": True}
"""Route option: no token is required."""

UserRequest = Request[UUID, str, State]
"""An authenticated request: `request.user` is the account's id."""


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Checks `Authorization: Bearer <token>`. Routes opt out one by one; no path pattern is excluded."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Return the caller's account id and token.

        Raises NotAuthenticated if the token is missing or not valid.
        """
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAuthenticated("No access token was sent. Log in and send `Authorization: Bearer <token>`.")
        tokens: Tokens = connection.app.state.tokens
        user_id = tokens.verify(token.strip())
        return AuthenticationResult(user=user_id, auth=token)
