"""Who is calling: every route asks for a bearer token unless it says that it is public."""

from typing import Any
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from api.tokens import Tokens
from pipeline.errors import NotAuthenticated

PUBLIC = {"public": True}
"""`opt` of a route that needs no token."""

UserRequest = Request[UUID, str, State]
"""Request of a caller whose token was checked: `request.user` is the id of the account."""


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Checks `Authorization: Bearer <token>`. No path is excluded by pattern; routes opt out themselves."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Return the caller's account id and token.

        Raises NotAuthenticated.
        """
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAuthenticated("This needs a token: Authorization: Bearer <token>.")
        tokens: Tokens = connection.app.state.tokens
        user_id = tokens.verify(token.strip())
        return AuthenticationResult(user=user_id, auth=token)
