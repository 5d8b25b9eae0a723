"""Who calls: the token, and by what to get another one when it has run out."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from api.client.errors import UnusableInput
from api.client.session import Session, find_session_file, load_session, save_session

DEFAULT_URL = "http://127.0.0.1:8000"

AskPassword = Callable[[str], str]
"""Asks a person for the password of an e-mail address."""


@dataclass
class Identity:
    """What is known of the caller."""

    url: str
    email: str | None
    token: str | None
    password: str | None
    session_file: Path
    has_session: bool = False
    """Whether the token comes from the session file, and a new one goes there."""

    def renew(self, token: str, password: str) -> None:
        """Take a new token; the password is kept for the next time, in memory alone."""
        self.token, self.password = token, password
        if self.has_session and self.email:
            with suppress(UnusableInput):  # this run has its token; the next one signs in again
                save_session(self.session_file, Session(self.url, self.email, token))


def identify(url: str, environment: Mapping[str, str]) -> Identity:
    """Find out who calls `url`: by the environment first, then by the session that was kept for this very URL.

    Raises UnusableInput where SLUICE_TOKEN can be no token.
    """
    identity = Identity(
        url=url,
        email=environment.get("SLUICE_EMAIL") or None,
        token=environment.get("SLUICE_TOKEN") or None,
        password=environment.get("SLUICE_PASSWORD") or None,
        session_file=find_session_file(environment),
    )
    if identity.token and not (identity.token.isascii() and identity.token.isprintable()):
        raise UnusableInput("SLUICE_TOKEN is no token")
    # A token from the environment may be of anybody: its owner is not taken from the file.
    session = None if identity.token else load_session(identity.session_file)
    if session is None or session.url != url or identity.email not in (None, session.email):
        return identity
    return replace(identity, email=session.email, token=session.token, has_session=True)


def normalize_url(url: str) -> str:
    """Return the address of a service in one spelling, so that two can be compared.

    Raises UnusableInput.
    """
    try:
        parts = urlsplit(url.strip())
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise UnusableInput("the address of the service is no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UnusableInput("the address of the service must look like http://127.0.0.1:8000")
    if parts.username is not None or parts.query or parts.fragment:
        raise UnusableInput("the address of the service holds no user, query or fragment; sign in with `login`")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
