"""Secrets and signatures of Standard Webhooks: https://www.standardwebhooks.com."""

import base64
import binascii
import hashlib
import hmac
import secrets

PREFIX = "whsec_"
SECRET_BYTES = 32
"""Length of a new secret."""
SHORTEST_BYTES, LONGEST_BYTES = 24, 64
"""Lengths that the standard allows."""
SECRET_FORM = f"{PREFIX} and then the base64 of {SHORTEST_BYTES} to {LONGEST_BYTES} random bytes"


def make_secret() -> bytes:
    """Return a new secret."""
    return secrets.token_bytes(SECRET_BYTES)


def show_secret(secret: bytes) -> str:
    """Return the text form of a secret."""
    return PREFIX + base64.b64encode(secret).decode()


def parse_secret(text: str) -> bytes:
    """Return the bytes of a secret in text form.

    Raises ValueError if it has another form.
    """
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    if not (text.startswith(PREFIX) and SHORTEST_BYTES <= len(secret) <= LONGEST_BYTES):
        raise ValueError("has another form")
    return secret


def sign(secret: bytes, message_id: str, timestamp: int, body: str) -> str:
    """Return the value of the header `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
