"""Access tokens, and the tokens of LibreChat: JWTs signed with HS256. No other algorithm is accepted."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any
from uuid import UUID

import jwt

from pipeline.errors import NotAuthenticated, SessionEnded
from pipeline.types import Identity, Refresh, new_id

ALGORITHM = "HS256"
ISSUER = "sluice"
AUDIENCE = "sluice-api"
REFRESH_AUDIENCE = "sluice-refresh"
"""Audience of refresh tokens, so that none of them is accepted as an access token."""
LEEWAY = timedelta(seconds=30)
"""Tolerated difference between the clocks of servers."""
GENERATION = "gen"
"""Claim with the account's token generation."""
REQUIRED_CLAIMS = ["exp", "iat", "sub", "jti", "iss", "aud"]
SESSION, NUMBER = "sid", "num"
"""Claims of a refresh token."""

CLAIMS_OF_LIBRECHAT = {"id", "iat", "exp"}
"""All claims of a token with which LibreChat calls us. Those of its users' browsers, signed with the same secret, have
others, too. A user who sent such a token to us could name any agent."""
MAX_USER_CHARACTERS = 255

MAX_REMEMBERED = 10_000
"""Maximum number of verified tokens that a process remembers, each with 32 bytes of digest."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that was verified, and the times between which it is valid, in seconds since 1970."""

    identity: Identity
    valid_from: float
    valid_until: float


@dataclass(frozen=True)
class Tokens:
    """Issues and verifies tokens with one secret. A new secret invalidates all tokens.

    A process checks the signature of a token once. It remembers the digest of the token, not the token.
    """

    secret: str
    lifetime: timedelta
    leeway: timedelta = LEEWAY
    capacity: int = MAX_REMEMBERED
    verified: OrderedDict[bytes, Verified] = field(default_factory=OrderedDict, init=False, repr=False, compare=False)
    """The tokens used last, by their digests, at most `capacity`."""

    def issue(self, identity: Identity) -> str:
        """Return a token for an account, valid for `lifetime` from now."""
        now = datetime.now(UTC)
        claims = {
            "sub": str(identity.user_id),
            GENERATION: identity.generation,
            "iat": now,
            "exp": now + self.lifetime,
            "jti": str(new_id()),
            "iss": ISSUER,
            "aud": AUDIENCE,
        }
        return jwt.encode(claims, self.secret, algorithm=ALGORITHM)

    def verify(self, token: str) -> Identity:
        """Return the account and the generation that the token was issued for. Whether they still exist is not checked.

        Raises NotAuthenticated if the token is expired, forged, incomplete or issued for another audience.
        """
        digest = hashlib.sha256(token.encode()).digest()
        verified = self.verified.get(digest)
        if verified is None or not verified.valid_from <= time() < verified.valid_until:
            verified = self.verified[digest] = self._decode(token)
            if len(self.verified) > self.capacity:
                self.verified.popitem(last=False)
        self.verified.move_to_end(digest)
        return verified.identity

    def issue_refresh(self, refresh: Refresh) -> str:
        """Return the refresh token that says this. It is always the same, so the server can send it once more."""
        claims = {
            "sub": str(refresh.owner_id),
            SESSION: str(refresh.session_id),
            NUMBER: refresh.number,
            "exp": refresh.expires,
            "iss": ISSUER,
            "aud": REFRESH_AUDIENCE,
        }
        return jwt.encode(claims, self.secret, algorithm=ALGORITHM)

    def verify_refresh(self, token: str) -> Refresh:
        """Return what a refresh token says. Whether its session still exists is not checked.

        Raises NotAuthenticated if the token is expired, forged, incomplete or an access token.
        """
        try:
            claims = jwt.decode(
                token,
                self.secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=REFRESH_AUDIENCE,
                options={"require": ["exp", "sub", SESSION, NUMBER, "iss", "aud"]},
            )
            return Refresh(UUID(claims["sub"]), UUID(claims[SESSION]), int(claims[NUMBER]), int(claims["exp"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise SessionEnded from None

    def _decode(self, token: str) -> Verified:
        try:
            claims = jwt.decode(
                token,
                self.secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=self.leeway,
                options={"require": REQUIRED_CLAIMS},
            )
            return self._find_validity(claims)
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("The token has expired. Log in again.", code="token_expired") from None
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise NotAuthenticated("The token is not valid. Log in again.", code="invalid_token") from None

    def _find_validity(self, claims: dict[str, Any]) -> Verified:
        leeway = self.leeway.total_seconds()
        # Earlier releases issued tokens without a generation.
        identity = Identity(UUID(claims["sub"]), int(claims.get(GENERATION, 0)))
        return Verified(identity, int(claims["iat"]) - leeway, int(claims["exp"]) + leeway)


@dataclass(frozen=True)
class LibreChatTokens:
    """Verifies the tokens with which LibreChat calls us for its users. They are valid for a few minutes."""

    secret: str

    def verify(self, token: str) -> str:
        """Return the id of the user in LibreChat.

        Raises NotAuthenticated if the token is expired, forged, incomplete or made for something else.
        """
        try:
            claims = jwt.decode(
                token, self.secret, algorithms=[ALGORITHM], leeway=LEEWAY, options={"require": ["id", "exp"]}
            )
        except jwt.ExpiredSignatureError:
            message = "The token of LibreChat has expired. Compare the clocks of both servers."
            raise NotAuthenticated(message, code="token_expired") from None
        except (jwt.InvalidTokenError, ValueError, TypeError):
            message = "The token is none of LibreChat. Compare LIBRECHAT_SECRET with the JWT_SECRET of LibreChat."
            raise NotAuthenticated(message, code="invalid_token") from None
        user = claims["id"]
        if not claims.keys() <= CLAIMS_OF_LIBRECHAT or not isinstance(user, str) or not is_name(user):
            message = "The token is not one with which LibreChat asks for the files of a user."
            raise NotAuthenticated(message, code="invalid_token")
        return user


def is_name(name: str) -> bool:
    """Tell whether this can be the id of a user or an agent of LibreChat."""
    return 1 <= len(name) <= MAX_USER_CHARACTERS and name.isprintable()
