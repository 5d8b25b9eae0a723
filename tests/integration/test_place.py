"""Two stacks never share a data folder, and a new one waits for what a killed one has left."""

import fcntl
import threading
from pathlib import Path

import pytest

from pipeline.operations.local.errors import StackError
from pipeline.operations.local.place import open_place
from tests.waiting import wait_until


def test_running_stack_keeps_its_folder(tmp_path: Path) -> None:
    with open_place(tmp_path), pytest.raises(StackError, match=f"another stack uses {tmp_path}"), open_place(tmp_path):
        pass


def test_new_stack_waits_for_the_children_of_a_killed_one(tmp_path: Path) -> None:
    steps: list[str] = []

    def start() -> None:
        with open_place(tmp_path, steps.append):
            steps.append("started")

    with (tmp_path / "children.lock").open("w") as child:
        fcntl.flock(child, fcntl.LOCK_EX)
        stack = threading.Thread(target=start)
        stack.start()
        wait_until(lambda: len(steps) > 0, 10, "the first step")
        assert steps == ["waiting for the processes of a killed stack"]
    stack.join(10)
    assert steps[-1] == "started"


@pytest.mark.parametrize("name", ["file", "file/folder"])
def test_data_folder_that_is_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match=r"is not a folder; set DATA_DIR to one$"), open_place(tmp_path / name):
        pytest.fail("a file is not a folder")
