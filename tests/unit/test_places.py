"""Which connection gives its place to a new one."""

from dataclasses import dataclass
from itertools import count
from uuid import UUID

import pytest

from api.http.places import ACCOUNT_SHARE, find_place

ANNA, BERT = UUID(int=1), UUID(int=2)


@dataclass
class Seat:
    """A connection whose age is its place in the list."""

    holder: str | UUID
    doing: str
    quiet_since: float = 0.0

    @property
    def is_idle(self) -> bool:
        return self.doing == "waits"

    @property
    def is_unfinished(self) -> bool:
        return self.doing == "sends"


def find(*seats: tuple[str | UUID, str]) -> int | None:
    """Return the index of the connection to close. The oldest comes first."""
    places = [Seat(holder, doing, age) for (holder, doing), age in zip(seats, count(), strict=False)]
    found = find_place(places[::-1])
    return None if found is None else places.index(found)


SENDS_A, SENDS_B, WAITS, READS = ("a", "sends"), ("b", "sends"), ("b", "waits"), ("a", "reads")


@pytest.mark.parametrize(
    ("seats", "index"),
    [
        ([], None),
        ([READS, READS], None),
        ([SENDS_A, SENDS_A, WAITS, WAITS], 2),
        ([SENDS_A, SENDS_A], 0),
        ([SENDS_B, SENDS_A, SENDS_A], 1),
        ([SENDS_B, SENDS_A, READS, READS], 1),
        ([READS, READS, SENDS_B], 2),
        ([(ANNA, "sends")] * ACCOUNT_SHARE, None),
        ([(ANNA, "sends")] * ACCOUNT_SHARE + [(ANNA, "reads")], 0),
        ([(ANNA, "sends"), (BERT, "sends")] * ACCOUNT_SHARE, None),
        ([(ANNA, "sends")] * (ACCOUNT_SHARE + 2) + [SENDS_A], ACCOUNT_SHARE + 2),
        ([(ANNA, "sends")] * (ACCOUNT_SHARE + 1) + [(BERT, "sends")] * (ACCOUNT_SHARE + 2), ACCOUNT_SHARE + 1),
    ],
)
def test_connection_that_gives_way(seats: list[tuple[str | UUID, str]], index: int | None) -> None:
    assert find(*seats) == index
