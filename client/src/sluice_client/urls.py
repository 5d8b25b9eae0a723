"""URLs of services."""

from urllib.parse import urlsplit

from sluice_client.errors import UnusableInput

DEFAULT_URL = "http://127.0.0.1:8000"


def normalize_url(url: str) -> str:
    """Return the URL of a service in its normal form, so that two URLs can be compared.

    Raises UnusableInput if it is invalid.
    """
    try:
        parts = urlsplit(url.strip())
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise UnusableInput("the URL of the service is invalid; use one like http://127.0.0.1:8000") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UnusableInput("the URL of the service needs a scheme and a host; use one like http://127.0.0.1:8000")
    if parts.username is not None or parts.query or parts.fragment:
        raise UnusableInput("the URL of the service must not contain a user, query or fragment; give credentials apart")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
