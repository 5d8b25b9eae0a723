"""Encrypts the messages of workers, because Redis is not trusted with content.

Each message is sealed for its channel with AES-256-GCM (NIST SP 800-38D) and a random nonce. Whoever can read and
write in Redis, but does not know the key, can only drop messages or send them again.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class KeyUnusable(ValueError):
    """A key has the wrong length."""


class SealBroken(ValueError):
    """A message was not sealed with this key for this channel."""


class Seal:
    """Seals messages with a key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        """Raise KeyUnusable if the key has another length."""
        if len(key) != KEY_BYTES:
            raise KeyUnusable(f"The key has {len(key)} bytes instead of {KEY_BYTES}.")
        self._cipher = AESGCM(key)

    def close(self, channel: str, message: bytes) -> bytes:
        """Return the sealed message, 28 bytes longer than the message."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, message, channel.encode())

    def open(self, channel: str, sealed: bytes) -> bytes:
        """Return the message. Raises SealBroken."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], channel.encode())
        except (InvalidTag, ValueError) as error:  # ValueError: the nonce is too short
            raise SealBroken from error
