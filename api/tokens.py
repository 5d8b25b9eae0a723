"""Access tokens: JWTs signed with HS256. No other algorithm is accepted."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from pipeline.errors import NotAuthenticated
from pipeline.types import new_id

ALGORITHM = "HS256"
ISSUER = "sluice"
AUDIENCE = "sluice-api"
LEEWAY = timedelta(seconds=30)
"""Tolerated difference between the clocks of servers."""
REQUIRED_CLAIMS = ["exp", "iat", "sub", "jti", "iss", "aud"]


@dataclass(frozen=True)
class Tokens:
    """Issues and verifies tokens with one secret. A new secret invalidates all tokens."""

    secret: str
    lifetime: timedelta
    leeway: timedelta = LEEWAY

    def issue(self, user_id: UUID) -> str:
        """Return a token for an account, valid for `lifetime` from now."""
        now = datetime.now(UTC)
        claims = {
            "sub": str(user_id),
            "iat": now,
            "exp": now + self.lifetime,
            "jti": str(new_id()),
            "iss": ISSUER,
            "aud": AUDIENCE,
        }
        return jwt.encode(claims, self.secret, algorithm=ALGORITHM)

    def verify(self, token: str) -> UUID:
        """Return the id of the account that the token was issued to.

        Raises NotAuthenticated if the token is expired, forged, incomplete or issued for another audience.
        """
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
            return UUID(claims["sub"])
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("The token has expired. Log in again.", code="token_expired") from None
        except (jwt.InvalidTokenError, ValueError):
            raise NotAuthenticated("The token is not valid. Log in again.", code="invalid_token") from None
