"""What API keys may do: each route needs one scope, and a few accept no key. Access tokens may do everything."""

from enum import StrEnum

from litestar.handlers import BaseRouteHandler

from api.auth import Credential, KeyCredential
from api.http.addresses import Connection
from pipeline.errors import Forbidden
from pipeline.types import Caller, Scope


class KeyRule(StrEnum):
    """Which API keys a route accepts. Without a rule, safe methods need the scope `read`, and others `write`."""

    READ = "read"
    """Keys with the scope `read`, whatever the method."""
    READ_ALL = "read_all"
    """The same, unless they are bound to collections."""
    NONE = "none"
    """No key: only a user who has logged in may do this."""


OPTION = "keys"
READS = {OPTION: KeyRule.READ}
"""Route option: the route only reads, although its method is POST."""
READS_ALL = {OPTION: KeyRule.READ_ALL}
"""Route option: the route reads what belongs to no collection."""
ACCOUNT_ONLY = {OPTION: KeyRule.NONE}
"""Route option: the route manages the account, so it accepts no key."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


async def require_permission(connection: Connection, handler: BaseRouteHandler) -> None:
    """Guard of all routes: check that the API key may do this, if the request has one.

    Raises Forbidden if it may not.
    """
    credential = connection.scope.get("auth")
    if not isinstance(credential, KeyCredential):
        return
    rule = handler.opt.get(OPTION)
    if rule == KeyRule.NONE:
        message = "API keys cannot manage the account. Log in, and send the access token instead of a key."
        raise Forbidden(message, code="key_refused")
    caller: Caller = connection.user
    if rule == KeyRule.READ_ALL and caller.collection_ids is not None:
        message = "This API key is bound to collections, so it cannot read what belongs to none of them."
        raise Forbidden(message, code="bound_key")
    require_scope(
        credential, Scope.READ if rule or connection.scope.get("method", "GET") in SAFE_METHODS else Scope.WRITE
    )


def may_write(credential: Credential) -> bool:
    """Tell whether the caller may change something."""
    return not isinstance(credential, KeyCredential) or Scope.WRITE in credential.scopes


def require_scope(credential: KeyCredential, scope: Scope) -> None:
    """Raise Forbidden if the key does not have this scope."""
    if scope not in credential.scopes:
        message = f"This API key does not have the scope `{scope}`. Use a key that has it."
        raise Forbidden(message, code="missing_scope")
