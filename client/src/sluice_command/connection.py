"""A connection that signs in for a command: with the saved token, a password from the environment, or a prompt."""

import math
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self

from sluice_client.asynchronous.connection import AsyncConnection
from sluice_client.errors import Forbidden, NotAuthenticated
from sluice_client.pages import given
from sluice_client.retries import Patience
from sluice_command.errors import NotSignedIn
from sluice_command.identity import AskPassword, Identity

MAX_PASSWORD_ATTEMPTS = 3


class Connection(AsyncConnection, AbstractAsyncContextManager["Connection"]):
    """A signed-in connection to one service. It waits without limit while the service limits the rate.

    `ask_password` is None if there is no terminal.
    """

    def __init__(self, identity: Identity, ask_password: AskPassword | None, patience_seconds: float) -> None:
        super().__init__(
            identity.url,
            token=identity.token,
            sign_in=lambda _, rejected: self._sign_in_again(rejected=rejected),
            patience=Patience(patience_seconds, math.inf),
        )
        self.identity = identity
        self.ask_password = ask_password

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def register(self, email: str, password: str) -> None:
        """Create an account, with the invitation if there is one. Raises SluiceError."""
        fields = {"email": email, "password": password, **given(invitation=self.identity.invitation)}
        try:
            await self.send_without_token("POST", "/v1/auth/register", repeatable=False, json=fields)
        except Forbidden as error:
            if error.code != "registration_closed":
                raise
            detail = f"{error.problem.detail} Then set SLUICE_INVITATION to the link and run this command again."
            raise Forbidden(replace(error.problem, detail=detail)) from None

    async def _sign_in_again(self, *, rejected: bool) -> str:
        """Return a new token. Raises SluiceError."""
        identity = self.identity
        if identity.email is None:
            raise NotSignedIn(
                "the service rejected the token; set SLUICE_TOKEN to a new one"
                if rejected
                else "not signed in; run `sluice login`, or set SLUICE_TOKEN"
            )
        if identity.password:
            token = await self.log_in(identity.email, identity.password)
            identity.renew(token, identity.password)
            return token
        return await self._ask_and_sign_in(identity.email, rejected=rejected)

    async def _ask_and_sign_in(self, email: str, *, rejected: bool) -> str:
        if self.ask_password is None:
            reason = f"the token of {email} has expired" if rejected else f"not signed in as {email}"
            raise NotSignedIn(f"{reason}; run `sluice login` and then the same command again, or set SLUICE_PASSWORD")
        attempts_left = MAX_PASSWORD_ATTEMPTS
        while True:
            # The prompt blocks the event loop on purpose: no request can continue without a token.
            password = self.ask_password(email)
            try:
                token = await self.log_in(email, password)
            except NotAuthenticated as error:
                attempts_left -= 1
                if not attempts_left:
                    raise
                self.tell(str(error))
            else:
                self.tell("")
                self.identity.renew(token, password)
                return token
