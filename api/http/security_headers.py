"""Security headers of every response, including errors. A response that sets one itself keeps its own."""

from litestar.datastructures import MutableScopeHeaders
from litestar.types import BeforeMessageSendHookHandler, Message, Scope
from pydantic import HttpUrl

DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # For responses that are not meant to be shown by a browser. Pages set their own.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # Tokens and private data must not stay in a cache. Responses with an ETag set `private, no-cache`.
    "Cache-Control": "no-store",
}
HSTS = "max-age=31536000"
"""One year. Browsers then use https even for links with http."""


def make_security_headers(public_url: HttpUrl | None) -> BeforeMessageSendHookHandler:
    """Return a Litestar `before_send` hook that adds the headers. HSTS is added if the public address is https."""
    headers = dict(DEFAULTS)
    if public_url and public_url.scheme == "https":
        headers["Strict-Transport-Security"] = HSTS

    async def send_security_headers(message: Message, _scope: Scope) -> None:
        if message["type"] == "http.response.start":
            present = MutableScopeHeaders.from_message(message)
            for name, value in headers.items():
                present.setdefault(name, value)

    return send_security_headers
