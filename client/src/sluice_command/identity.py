"""The credentials of the caller: a token, and a password to renew it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sluice_client.errors import UnusableInput
from sluice_command.session import Session, find_session_file, load_session, save_session

AskPassword = Callable[[str], str]
"""Prompts for the password of an e-mail address."""


@dataclass
class Identity:
    """The credentials of the caller for one service."""

    url: str
    email: str | None
    token: str | None
    password: str | None
    session_file: Path
    invitation: str | None = None
    """Secret of an invitation link, for `login --register`."""
    has_session: bool = False
    """True if the token comes from the session file. A new token is saved there."""

    def renew(self, token: str, password: str) -> None:
        """Use a new token. The password is kept in memory, to renew the token again."""
        self.token, self.password = token, password
        if self.has_session and self.email:
            with suppress(UnusableInput):  # this command has its token; the next one signs in again
                save_session(self.session_file, Session(self.url, self.email, token))


def identify(url: str, environment: Mapping[str, str]) -> Identity:
    """Return the credentials for `url`, from the environment or from the session that was saved for this URL.

    Raises UnusableInput if SLUICE_TOKEN contains characters that no token has.
    """
    identity = Identity(
        url=url,
        email=environment.get("SLUICE_EMAIL") or None,
        token=environment.get("SLUICE_TOKEN") or None,
        password=environment.get("SLUICE_PASSWORD") or None,
        session_file=find_session_file(environment),
        # The operator gives a link, of which only the secret is sent.
        invitation=environment.get("SLUICE_INVITATION", "").rpartition("#invite=")[2] or None,
    )
    if identity.token and not (identity.token.isascii() and identity.token.isprintable()):
        raise UnusableInput("SLUICE_TOKEN is not a token; correct it, or unset it and run `sluice login`")
    # A token from the environment can belong to another account than the saved session.
    session = None if identity.token else load_session(identity.session_file)
    if session is None or session.url != url or identity.email not in (None, session.email):
        return identity
    return replace(identity, email=session.email, token=session.token, has_session=True)
