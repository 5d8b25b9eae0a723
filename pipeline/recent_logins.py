"""Which accounts logged in from which networks since this process started. They do not wait behind a flood."""

import hashlib
from collections import OrderedDict

MAX_LOGINS = 10_000
"""Maximum number of pairs of an account and a network that a process remembers."""


class RecentLogins:
    """Remembers the latest successful logins, as hashes."""

    def __init__(self, *, capacity: int = MAX_LOGINS) -> None:
        self._capacity = capacity
        self._pairs: OrderedDict[bytes, None] = OrderedDict()

    def remember(self, email: str, network: str) -> None:
        """Remember a successful login. The oldest one is forgotten if there are too many."""
        pair = _digest(email, network)
        self._pairs[pair] = None
        self._pairs.move_to_end(pair)
        if len(self._pairs) > self._capacity:
            self._pairs.popitem(last=False)

    def includes(self, email: str, network: str) -> bool:
        """Return whether this account logged in from this network."""
        return _digest(email, network) in self._pairs


def _digest(email: str, network: str) -> bytes:
    return hashlib.sha256(f"{email}\0{network}".encode()).digest()
