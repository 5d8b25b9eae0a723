"""How many connections a process has room for."""

from resource import RLIM_INFINITY

import pytest

from api.http.descriptors import Room, find_room


@pytest.mark.parametrize(
    ("soft", "hard", "room"),
    [
        (1024, 524_288, Room(1800, 800)),
        (256, RLIM_INFINITY, Room(1800, 800)),
        (4096, 4096, Room(4096, 800)),
        (RLIM_INFINITY, RLIM_INFINITY, Room(RLIM_INFINITY, 800)),
        (1024, 1024, Room(1024, 412)),
        (64, 64, Room(64, 1)),
    ],
)
def test_room_for_800_connections(soft: int, hard: int, room: Room) -> None:
    assert find_room(800, soft, hard) == room
