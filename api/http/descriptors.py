"""Makes sure that a process can open as many files as its connections need."""

import resource
from dataclasses import dataclass

from pipeline.logs import get_logger

OWN_FILES = 200
"""Open files of a process without connections: PostgreSQL, Redis, the sandbox, modules, and some to spare."""
FILES_PER_CONNECTION = 2
"""Open files of an upload: the connection and a temporary file."""

log = get_logger()


@dataclass(frozen=True)
class Room:
    """How many files a process may open, and for how many connections that is enough."""

    files: int
    connections: int


def find_room(connections: int, soft: int, hard: int) -> Room:
    """Return how many connections fit within the limits of `RLIMIT_NOFILE`, at most `connections`."""
    needed = OWN_FILES + FILES_PER_CONNECTION * connections
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return Room(soft, connections)
    files = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    return Room(files, max(1, min(connections, (files - OWN_FILES) // FILES_PER_CONNECTION)))


def make_room(connections: int) -> int:
    """Let this process open enough files for the connections. Return how many it has room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = find_room(connections, soft, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (room.files, hard))
    if room.connections < connections:
        log.warning("connections.limited", connections=room.connections, max_connections=connections, open_files=hard)
    return room.connections
