"""The address on which the API listens, and the one at which a browser finds it."""

import errno
import socket
from pathlib import Path

from pipeline.operations.local.errors import StackError
from pipeline.settings import Settings, SettingsError

LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names of addresses, on which nothing listens
"""Hosts that mean every address of this machine, and the address at which the machine itself reaches them."""
LOWEST_PORT_FILE = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
"""Linux: the lowest port on which an ordinary user may listen."""


def make_local_url(host: str, port: int) -> str:
    """Return the URL at which this machine reaches an API that listens on `host`."""
    address = LOOPBACKS.get(host, host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def find_public_url(settings: Settings) -> str:
    """Return the URL of the page: `PUBLIC_URL` or, if that is not set, the address on which the API listens.

    Raises SettingsError if HOST and PORT do not tell that address.
    """
    if settings.public_url:
        return str(settings.public_url)
    if settings.host in LOOPBACKS or not settings.port:
        raise SettingsError("HOST and PORT do not tell how others reach the page; set PUBLIC_URL, or add --url")
    return make_local_url(settings.host, settings.port)


def find_port(host: str, port: int, *, is_child_unprivileged: bool = False) -> int:
    """Check that the API can listen on a port, and return it. For port 0, return one that is free.

    `is_child_unprivileged` means that root starts the API as another user. Raises StackError, which says what to set.
    """
    try:
        if is_child_unprivileged and 0 < port < _find_lowest_port():
            raise PermissionError(errno.EACCES, "only root may")
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            found: int = probe.getsockname()[1]
            return found
    except (OSError, UnicodeError) as error:  # UnicodeError: no host name has this form
        reason = error.strerror if isinstance(error, OSError) else "no host name has this form"
        raise StackError(f"cannot listen on {host}:{port}: {reason}; {_advise(error)}") from None


def _find_lowest_port() -> int:
    return int(LOWEST_PORT_FILE.read_text()) if LOWEST_PORT_FILE.exists() else 1024


def _advise(error: OSError | UnicodeError) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return "set PORT to another port"
        case errno.EACCES:
            return "set PORT to 1024 or higher"
    return "correct HOST"
