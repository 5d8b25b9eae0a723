"""Files for browsers: read once, sent under the policy of their page, and only to whom has them not yet."""

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
    # Kept, but asked for anew: the files of two releases must not meet.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, and the tag of its content."""

    content: bytes
    media_type: str
    etag: str


def make_asset(content: bytes, media_type: str) -> Asset:
    """Return a file with its tag."""
    return Asset(content, media_type, make_etag(content))


def send_asset(asset: Asset | None, policy: str, if_none_match: str | None) -> Response[bytes]:
    """Answer with a file under a Content-Security-Policy; 304 where the browser has it.

    Raises NotFoundException where there is none.
    """
    if asset is None:
        raise NotFoundException
    headers = {**HEADERS, "Content-Security-Policy": policy, "ETag": asset.etag}
    if is_known(asset.etag, if_none_match):
        return Response(b"", status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
