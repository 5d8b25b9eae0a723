"""The cookie with the refresh token, and the check that only the service's own page uses it."""

from urllib.parse import urlsplit

from litestar.datastructures import Cookie
from pydantic import HttpUrl

from api.http.addresses import Connection
from pipeline.errors import Forbidden

NAME = "sluice_session"
PATH = "/v1/auth"
"""Browsers send the cookie only to routes below this path."""
GONE = Cookie(key=NAME, value="", path=PATH, max_age=0, httponly=True, samesite="strict")
"""Deletes the cookie."""


def make_cookie(connection: Connection, token: str, seconds: int) -> Cookie:
    """Return the cookie, which lasts for this time. No script can read it, and no other site makes browsers send it."""
    public_url = _find_public_url(connection)
    is_secure = connection.url.scheme == "https" or (public_url is not None and public_url.scheme == "https")
    return Cookie(key=NAME, value=token, path=PATH, max_age=seconds, httponly=True, secure=is_secure, samesite="strict")


def require_own_page(connection: Connection) -> None:
    """Check that no page of another origin sends the request. `SameSite` alone allows those of sibling domains.

    Programs that send neither header pass: only browsers add cookies by themselves. Raises Forbidden.
    """
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    if site == "same-origin" or (site is None and (origin is None or _is_own(connection, origin))):
        return
    raise Forbidden("A page of another origin sent this request. Use the service's own page.", code="foreign_origin")


def _is_own(connection: Connection, origin: str) -> bool:
    public_url = _find_public_url(connection)
    hosts = {connection.headers.get("host"), urlsplit(str(public_url)).netloc if public_url else None}
    return urlsplit(origin).netloc in hosts - {None}


def _find_public_url(connection: Connection) -> HttpUrl | None:
    url: HttpUrl | None = connection.app.state.runtime.settings.public_url
    return url
