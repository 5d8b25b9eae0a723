"""Cross-origin requests: which pages of other origins may call the API from a browser."""

from collections.abc import Sequence

from litestar.config.cors import CORSConfig

EXPOSED = (
    "Deduplicated",
    "ETag",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
)
"""Response headers that pages may read, besides those that browsers always show."""
REQUESTED = ("Authorization", "Content-Type", "If-None-Match", "Last-Event-ID", "Prefer", "X-Request-Id")
"""Request headers that pages may send."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_AGE_SECONDS = 600


def make_cors(origins: Sequence[str]) -> CORSConfig | None:
    """Return the configuration for these origins. Without any, cross-origin requests are not allowed.

    Browsers send no cookies or other stored credentials with them. The access token is a header that the page sets.
    """
    if not origins:
        return None
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=list(METHODS),  # type: ignore[arg-type]  # Litestar's literal lacks HEAD
        allow_headers=list(REQUESTED),
        expose_headers=list(EXPOSED),
        max_age=MAX_AGE_SECONDS,
    )
