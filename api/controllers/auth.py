"""Accounts: registration, login and the caller's own account."""

import msgspec
from litestar import Controller, Request, get, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.auth import PUBLIC, UserRequest
from api.deps import RuntimeDependency
from api.http.operations import PublicOperation, problems
from api.ratelimit import find_address, limit_login, limit_registration
from api.schemas import Credentials, Registration
from api.tokens import Tokens
from pipeline.types import Account
from pipeline.use_cases import accounts

PublicRequest = Request[None, None, State]


class AccessToken(msgspec.Struct):
    """A token for the `Authorization` header, valid for `expires_in` seconds."""

    access_token: str
    token_type: str
    expires_in: int


class AuthController(Controller):
    """Registers accounts and issues access tokens."""

    path = "/v1"
    tags = ("Accounts",)

    @post(
        "/auth/register",
        opt=PUBLIC,
        operation_class=PublicOperation,
        summary="Create an account",
        responses=problems(409, 422, 429, 507),
    )
    async def register(
        self, request: PublicRequest, data: JSONBody[Registration], runtime: RuntimeDependency
    ) -> Account:
        """Create an account. 409 if the e-mail address already has one."""
        await limit_registration(request, data.email)
        return await accounts.register(runtime, data.email, data.password)

    @post(
        "/auth/login",
        opt=PUBLIC,
        operation_class=PublicOperation,
        status_code=200,
        summary="Log in and get an access token",
        responses=problems(401, 422, 429),
    )
    async def login(
        self, request: PublicRequest, data: JSONBody[Credentials], runtime: RuntimeDependency, state: State
    ) -> AccessToken:
        """Return an access token. 401 for a wrong password and for an unknown e-mail address."""
        await limit_login(request, data.email)
        account = await accounts.authenticate(runtime, data.email, data.password, find_address(request))
        tokens: Tokens = state.tokens
        return AccessToken(tokens.issue(account.id), "bearer", int(tokens.lifetime.total_seconds()))

    @get("/users/me", summary="Get your account", responses=problems(401))
    async def me(self, request: UserRequest, runtime: RuntimeDependency) -> Account:
        """Return the account that the token belongs to."""
        return await accounts.get_account(runtime, request.user)
