"""Query parameters that all listings share."""

from typing import Annotated

from litestar.params import QueryParameter

CURSOR = "^[A-Za-z0-9_-]{22}$"
"""16 bytes in base64url: what `next_cursor` looks like."""

PageLimit = Annotated[int, QueryParameter(ge=1, le=100, description="How many at most.")]
PageCursor = Annotated[str | None, QueryParameter(pattern=CURSOR, description="`next_cursor` of the page before.")]
DEFAULT_LIMIT = 20
