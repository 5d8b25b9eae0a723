"""`ETag` and `If-None-Match`: tells whether the client already has a response. Litestar does not compare them."""

import hashlib
from typing import Annotated

from litestar.params import HeaderParameter

IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match")]


def make_etag(content: bytes) -> str:
    """Return the tag for a response, made from its body or from the data that determines it."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Tell whether `If-None-Match` contains this tag. Weak tags match too, because proxies may weaken a tag."""
    return etag in [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
