"""Where a stack keeps its data, and as whom it runs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

from pipeline.file_locks import try_lock
from pipeline.operations.local.errors import StackError
from pipeline.operations.local.system_user import SystemUser, find_system_user

LEFTOVER_SECONDS = 40.0
"""Time for the processes of a killed stack to stop. PostgreSQL may need half a minute."""
RETRY_SECONDS = 0.1


@dataclass(frozen=True)
class Place:
    """The data folder of a running stack. Two stacks never share one."""

    data_dir: Path
    system_user: SystemUser | None
    """The user of the child processes, if it is not this process's user."""
    children_lock: IO[str]
    """Each child inherits this open file. It stays locked until the last child has ended, whoever is killed."""

    def open_to_children(self, folders: Sequence[Path], report: Callable[[str], None]) -> None:
        """Let the user of the children, and nobody else, read these folders. Raises StackError."""
        if self.system_user is None:
            return
        for folder in folders:
            for closed in self.system_user.enter(folder):
                report(f"letting the user {self.system_user.name} into {closed}")


@contextmanager
def open_place(data_dir: Path, report: Callable[[str], None] = lambda _step: None) -> Iterator[Place]:
    """Lock the data folder, and wait until the processes of a killed stack have left it. Raises StackError."""
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise StackError(f"{data_dir} is not a folder; set DATA_DIR to one") from None
    with _open_private(data_dir / "lock") as stack, _open_private(data_dir / "children.lock") as children:
        if not try_lock(stack):
            raise StackError(f"another stack uses {data_dir}; stop it, or set DATA_DIR")
        _wait_for_leftovers(children, data_dir, report)
        place = Place(data_dir, find_system_user(), children)
        place.open_to_children([data_dir], report)
        yield place


def _open_private(file: Path) -> IO[str]:
    # A user who may read a file may also lock it.
    file.touch(mode=0o600)
    return file.open("w")


def _wait_for_leftovers(lock: IO[str], data_dir: Path, report: Callable[[str], None]) -> None:
    deadline = monotonic() + LEFTOVER_SECONDS
    if try_lock(lock):
        return
    report("waiting for the processes of a killed stack")
    while not try_lock(lock):
        if monotonic() > deadline:
            raise StackError(f"processes of a killed stack still use {data_dir}; end them, or set DATA_DIR")
        time.sleep(RETRY_SECONDS)
