"""Access tokens: JWTs signed with HS256. No other algorithm is accepted."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from pipeline.errors import NotAuthenticated
from pipeline.types import Identity, new_id

ALGORITHM = "HS256"
ISSUER = "sluice"
AUDIENCE = "sluice-api"
LEEWAY = timedelta(seconds=30)
"""Tolerated difference between the clocks of servers."""
GENERATION = "gen"
"""Claim with the account's token generation."""
REQUIRED_CLAIMS = ["exp", "iat", "sub", "jti", "iss", "aud"]


@dataclass(frozen=True)
class Tokens:
    """Issues and verifies tokens with one secret. A new secret invalidates all tokens."""

    secret: str
    lifetime: timedelta
    leeway: timedelta = LEEWAY

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
            # Earlier releases issued tokens without a generation.
            return Identity(UUID(claims["sub"]), int(claims.get(GENERATION, 0)))
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("The token has expired. Log in again.", code="token_expired") from None
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise NotAuthenticated("The token is not valid. Log in again.", code="invalid_token") from None
