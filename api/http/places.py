"""Which connection gives its place to a new one when a process has as many as it may keep."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar
from uuid import UUID

ACCOUNT_SHARE = 8
"""Connections of an account that keep their place while they send a request. A browser opens six."""


class Place(Protocol):
    """A connection, seen as a place."""

    quiet_since: float
    """When it was opened, its request began or its last response ended."""

    @property
    def is_idle(self) -> bool:
        """True if it waits for a request."""

    @property
    def is_unfinished(self) -> bool:
        """True if a part of a request has arrived, and no response is being sent."""

    @property
    def holder(self) -> str | UUID:
        """The account that it serves, or else the network that it comes from."""


SomePlace = TypeVar("SomePlace", bound=Place)


def find_oldest(places: Sequence[SomePlace]) -> SomePlace:
    """Return the place that has been quiet for longest. Raises ValueError if there is none."""
    return min(places, key=lambda place: place.quiet_since)


def find_place(places: Sequence[SomePlace]) -> SomePlace | None:
    """Return the connection to close for a new one, or None if each must be kept.

    Idle connections come first, then unfinished requests of the network that holds most connections, then those of the
    account that holds most. Among equals it is the oldest. A request that is being answered keeps its connection.
    """
    if idle := [place for place in places if place.is_idle]:
        return find_oldest(idle)
    # This runs for each new connection of a flood, so each holder is asked for once.
    holders = [place.holder for place in places]
    counts = Counter(holders)
    loose = [
        ((isinstance(holder, UUID), -counts[holder], place.quiet_since), index)
        for index, (place, holder) in enumerate(zip(places, holders, strict=True))
        if (isinstance(holder, str) or counts[holder] > ACCOUNT_SHARE) and place.is_unfinished
    ]
    return places[min(loose)[1]] if loose else None
