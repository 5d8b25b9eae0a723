"""URLs of servers, as the settings give them. Whatever is wrong with one, no message shows a part of it."""

from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

DATABASE_FORM = "postgresql://user:password@host:5432/name"
REDIS_FORM = "redis://:password@host:6379/0"
PAGE_FORM = "https://sluice.example.org"
DATABASE_SCHEMES = ("postgres", "postgresql", "postgresql+asyncpg")
REDIS_SCHEMES = ("redis", "rediss", "unix")
DATABASE_PARAMETERS = {"host", "port"}
"""Parameters of a database URL that SQLAlchemy and asyncpg read in the same way."""
FIRST_PRINTABLE = " "


def quote_password(url: str) -> str:
    """Percent-encode the password of a URL if it contains characters that would end it early, such as `/` and `@`.

    Compose and `.env` insert passwords into URLs as they are. A URL that is already valid stays as it is.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or _find_authority(url).count("@") == 1:
        return url
    credentials, at, address = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    return f"{scheme}://{user}{colon}{quote(password, safe='%')}{at}{address}"


def _find_authority(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # for example, a `[` in the password
        return ""


def require_database_url(url: str) -> None:
    """Check that SQLAlchemy and asyncpg can read the URL of a database.

    Raises ValueError, whose message shows the form but no part of the URL.
    """
    parts = _split(url, DATABASE_SCHEMES, DATABASE_FORM)
    parameters = parse_qs(parts.query, keep_blank_values=True)
    if not parameters.keys() <= DATABASE_PARAMETERS:
        raise ValueError("may have no parameters except host and port; for TLS, set PGSSLMODE in the environment")
    if parts.fragment or not all(port.isdecimal() for port in parameters.get("port", [])):
        raise _refuse(DATABASE_FORM)


def require_redis_url(url: str) -> None:
    """Check that the Redis client can read the URL of a server.

    Raises ValueError, whose message shows the form but no part of the URL.
    """
    parts = _split(url, REDIS_SCHEMES, REDIS_FORM)
    number = parts.path.strip("/")
    if parts.scheme != "unix" and number and not number.isdecimal():
        raise _refuse(REDIS_FORM)
    try:
        # Connects to nothing yet.
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]  # redis has no types here
    except (ValueError, TypeError, RedisError):
        raise _refuse(REDIS_FORM) from None


def require_web_url(url: str) -> None:
    """Check that a URL can be the address of a page, to which a path or a fragment is added.

    Raises ValueError.
    """
    parts = _split(url, ("http", "https"), PAGE_FORM)
    if not parts.hostname or parts.query or parts.fragment:
        raise _refuse(PAGE_FORM)


def _split(url: str, schemes: tuple[str, ...], form: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError:
        raise _refuse(form) from None
    # `urlsplit` drops line ends, but other readers do not.
    if parts.scheme not in schemes or "://" not in url or min(url) < FIRST_PRINTABLE:
        raise _refuse(form)
    return parts


def _refuse(form: str) -> ValueError:
    return ValueError(f"is not of the form {form}")
