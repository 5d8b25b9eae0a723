"""Accounts: registration, login, and the caller's own account and password."""

from contextlib import suppress
from time import time

import msgspec
from litestar import Controller, Request, Response, delete, get, post, put
from litestar.datastructures import State
from litestar.params import JSONBody

from api.auth import PUBLIC, UserRequest
from api.deps import RuntimeDependency
from api.http import session_cookie
from api.http.addresses import find_address
from api.http.operations import PublicOperation, problems
from api.permissions import ACCOUNT_ONLY, READS_ALL
from api.ratelimit import keeping_standing, limit_login, limit_network, limit_registration
from api.schemas import Confirmation, Credentials, PasswordChange, Registration
from api.tokens import Tokens
from pipeline import metrics
from pipeline.errors import NotAuthenticated, Overloaded, SessionEnded, SluiceError, TooManyRequests
from pipeline.runtime import Runtime
from pipeline.types import Account, AccountDetails, Identity, Refresh
from pipeline.use_cases import accounts, browser_sessions
from pipeline.use_cases.key_checks import ApiKeys
from pipeline.use_cases.sessions import Sessions

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
        responses=problems(403, 409, 422, 429, 507),
    )
    async def register(
        self, request: PublicRequest, data: JSONBody[Registration], runtime: RuntimeDependency
    ) -> Account:
        """Create an account. 409 if the e-mail address already has one.

        403 `registration_closed` if the service needs an invitation, and `invitation_invalid` if it cannot be used. The
        invitation is the part of the operator's link after `#invite=`.
        """
        await limit_registration(request, data.email)
        return await accounts.register(runtime, data.email, data.password, find_address(request), data.invitation)

    @post(
        "/auth/login",
        opt=PUBLIC,
        operation_class=PublicOperation,
        status_code=200,
        summary="Log in and get an access token",
        responses=problems(401, 403, 422, 429),
    )
    async def login(
        self, request: PublicRequest, data: JSONBody[Credentials], runtime: RuntimeDependency
    ) -> Response[AccessToken]:
        """Return an access token. 401 for a wrong password and for an unknown e-mail address.

        With `remember`, the answer sets a cookie for `POST /v1/auth/refresh`. Without it, there is no cookie.
        """
        if data.remember:
            session_cookie.require_own_page(request)
        try:
            identity = await _authenticate(request, data, runtime)
        except SluiceError as error:
            metrics.REFUSED_LOGINS.labels(error.code).inc()
            raise
        return await _answer(request, runtime, identity, remember=data.remember)

    @post(
        "/auth/refresh",
        opt=PUBLIC,
        operation_class=PublicOperation,
        status_code=200,
        summary="Get an access token for the browser's session",
        responses=problems(401, 403, 507),
    )
    async def refresh(self, request: PublicRequest, runtime: RuntimeDependency, state: State) -> Response[AccessToken]:
        """Return an access token, and replace the refresh token in the cookie.

        Each refresh token can be used once. Another use, later than 30 seconds, ends the session. 401 `session_ended`
        without a valid cookie.
        """
        session_cookie.require_own_page(request)
        tokens: Tokens = state.tokens
        used = tokens.verify_refresh(request.cookies.get(session_cookie.NAME, ""))
        identity, valid = await browser_sessions.use(runtime, used, find_address(request))
        return _send(request, _issue(state, identity), valid)

    @post(
        "/auth/logout",
        opt=PUBLIC,
        operation_class=PublicOperation,
        status_code=204,
        response_cookies=[session_cookie.GONE],
        summary="End the browser's session",
        responses=problems(403, 507),
    )
    async def logout(self, request: PublicRequest, runtime: RuntimeDependency, state: State) -> None:
        """End the session of the cookie, if there is one, and delete the cookie.

        An access token lasts until it expires.
        """
        session_cookie.require_own_page(request)
        tokens: Tokens = state.tokens
        with suppress(SessionEnded):
            used = tokens.verify_refresh(request.cookies.get(session_cookie.NAME, ""))
            await browser_sessions.end(runtime, used, find_address(request))

    @get("/users/me", summary="Get your account", responses=problems(401, 403), opt=READS_ALL)
    async def me(self, request: UserRequest, runtime: RuntimeDependency) -> AccountDetails:
        """Return the account that the token or key belongs to, what it stores and its quotas.

        `limit` is null if there is no quota. A note counts as a document, and the bytes of its body count.
        """
        return await accounts.get_details(runtime, request.user.owner_id)

    @put(
        "/users/me/password",
        summary="Change your password",
        opt=ACCOUNT_ONLY,
        responses=problems(401, 403, 422, 429, 507),
    )
    async def change_password(
        self, request: UserRequest, data: JSONBody[PasswordChange], runtime: RuntimeDependency, state: State
    ) -> Response[AccessToken]:
        """Replace the password and end all other tokens and sessions, within seconds. Return a new token.

        API keys stay valid.

        403 `wrong_password` if the current password is wrong. It counts as a failed login.
        """
        await limit_login(request, str(request.user.owner_id))
        address = find_address(request)
        identity = await accounts.change_password(
            runtime, request.user.owner_id, data.current_password, data.new_password, address
        )
        sessions: Sessions = state.sessions
        sessions.forget(request.user.owner_id)
        return await _answer(request, runtime, identity, remember=data.remember)

    @delete(
        "/users/me",
        summary="Delete your account",
        opt=ACCOUNT_ONLY,
        responses=problems(401, 403, 422, 429, 507),
    )
    async def delete_account(
        self, request: UserRequest, data: JSONBody[Confirmation], runtime: RuntimeDependency, state: State
    ) -> None:
        """Delete the account with all documents and notes, and end its tokens and API keys. This cannot be undone.

        403 `wrong_password` if the password is wrong. It counts as a failed login. The audit log keeps type and time of
        the account's actions, without details.
        """
        await limit_login(request, str(request.user.owner_id))
        await accounts.delete_own(runtime, request.user.owner_id, data.password, find_address(request))
        keys: ApiKeys = state.api_keys
        keys.forget()
        sessions: Sessions = state.sessions
        sessions.forget(request.user.owner_id)


async def _authenticate(request: PublicRequest, data: Credentials, runtime: Runtime) -> Identity:
    """Check the limits and the password.

    An account that has logged in from this network before is exempt from the network's limit.
    """
    try:
        await limit_network(request)
    except TooManyRequests as refusal:
        with keeping_standing(request):
            return await _authenticate_known(request, data, runtime, refusal)
    await limit_login(request, data.email)
    return await accounts.authenticate(runtime, data.email, data.password, find_address(request))


async def _authenticate_known(
    request: PublicRequest, data: Credentials, runtime: Runtime, refusal: TooManyRequests
) -> Identity:
    """Check the password of an account that logged in from this network before.

    A wrong password and an account that never did get the same answer after the same work: both raise `refusal`.
    """
    address = find_address(request)
    try:
        await limit_login(request, data.email)
        if accounts.is_recent(runtime, data.email, address):
            return await accounts.authenticate(runtime, data.email, data.password, address)
    except NotAuthenticated:
        raise refusal from None
    except (TooManyRequests, Overloaded):
        pass  # a pause or a limit of this account alone
    await accounts.imitate_check(runtime, data.password, address)
    raise refusal


async def _answer(
    request: PublicRequest | UserRequest, runtime: Runtime, identity: Identity, *, remember: bool
) -> Response[AccessToken]:
    """Return an access token, and with `remember` the cookie of a new session."""
    refresh = await browser_sessions.begin(runtime, identity) if remember else None
    return _send(request, _issue(request.app.state, identity), refresh)


def _send(request: PublicRequest | UserRequest, token: AccessToken, refresh: Refresh | None) -> Response[AccessToken]:
    if refresh is None:
        return Response(token)
    tokens: Tokens = request.app.state.tokens
    seconds = max(0, refresh.expires - int(time()))
    return Response(token, cookies=[session_cookie.make_cookie(request, tokens.issue_refresh(refresh), seconds)])


def _issue(state: State, identity: Identity) -> AccessToken:
    tokens: Tokens = state.tokens
    return AccessToken(tokens.issue(identity), "bearer", int(tokens.lifetime.total_seconds()))
