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
    counts = Counter(place.holder for place in places)
    loose = [place for place in places if place.is_unfinished and _may_lose(place.holder, counts)]
    return min(loose, key=lambda place: _rank(place, counts), default=None)


def _may_lose(holder: str | UUID, counts: Counter[str | UUID]) -> bool:
    return isinstance(holder, str) or counts[holder] > ACCOUNT_SHARE


def _rank(place: Place, counts: Counter[str | UUID]) -> tuple[bool, int, float]:
    """Return what is least for the connection to close."""
    return isinstance(place.holder, UUID), -counts[place.holder], place.quiet_since
