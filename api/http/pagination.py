"""Query parameters shared by all paginated lists."""

from typing import Annotated

from litestar.params import QueryParameter

CURSOR = "^[A-Za-z0-9_-]{22}$"
"""Format of `next_cursor`: 16 bytes in base64url."""

PageLimit = Annotated[int, QueryParameter(ge=1, le=100, description="Maximum number of items to return.")]
SortedCursor = Annotated[
    str | None,
    QueryParameter(
        pattern="^[A-Za-z0-9_-]{22,2000}$", description="`next_cursor` of the previous page, in the same order."
    ),
]
PageCursor = Annotated[str | None, QueryParameter(pattern=CURSOR, description="`next_cursor` of the previous page.")]
DEFAULT_LIMIT = 20
