"""Static files for browsers, kept in memory and sent with security headers.

Litestar's static files ignore `If-None-Match`, so browsers would load every file again on every visit.
"""

from dataclasses import dataclass

from litestar import HttpMethod, Response
from litestar.exceptions import NotFoundException

from api.http.etags import is_known, make_etag

METHODS = [HttpMethod.GET, HttpMethod.HEAD]
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Browsers must revalidate, so that files of two releases are never mixed.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file and the ETag of its content."""

    content: bytes
    media_type: str
    etag: str


def make_asset(content: bytes, media_type: str) -> Asset:
    """Return an asset with its ETag."""
    return Asset(content, media_type, make_etag(content))


def send_asset(asset: Asset | None, policy: str, if_none_match: str | None) -> Response[bytes]:
    """Return the response for a file, with a Content-Security-Policy. 304 if the browser already has the file.

    Raises NotFoundException if `asset` is None.
    """
    if asset is None:
        raise NotFoundException
    headers = {**HEADERS, "Content-Security-Policy": policy, "ETag": asset.etag}
    if is_known(asset.etag, if_none_match):
        return Response(b"", status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
