"""`ETag` and `If-None-Match`: whether the client has what would be sent."""

import hashlib
from typing import Annotated

from litestar.params import HeaderParameter

IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match")]


def make_etag(content: bytes) -> str:
    """Return the tag of what is sent, or of what it is made from."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Tell whether `If-None-Match` names this tag; proxies may have made it a weak one."""
    return etag in [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
