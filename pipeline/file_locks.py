"""Locks on files, which all processes of a machine see. They end with the process that holds them."""

import fcntl
from typing import IO


def try_lock(file: IO[str]) -> bool:
    """Lock an open file until it is closed. Return False if another process or opening holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
