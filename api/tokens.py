"""Access tokens: JWT, HS256 and nothing else."""

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
"""Clocks of servers may differ by so much."""
REQUIRED_CLAIMS = ["exp", "iat", "sub", "jti", "iss", "aud"]


@dataclass(frozen=True)
class Tokens:
    """Makes and checks tokens with one secret; another secret invalidates them all."""

    secret: str
    lifetime: timedelta
    leeway: timedelta = LEEWAY

    def issue(self, user_id: UUID) -> str:
        """Return a token for a user, valid for `lifetime` from now."""
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
        """Return whose token this is.

        Raises NotAuthenticated where it is expired, forged, incomplete or meant for others.
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
