"""The user as which `make up` runs everything when root starts it."""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.operations.local.errors import StackError
from pipeline.operations.local.place import open_place
from pipeline.operations.local.system_user import SystemUser, find_system_user
from tests.processes import PROJECT, run_program
from tests.service import SECRET

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs anything as another user")
NOBODY = 65534
PORT = "from pipeline.settings import load_settings; print(load_settings().port)"


@pytest.fixture
def user() -> SystemUser:
    user = find_system_user()
    assert user
    for folder in (PROJECT, Path(sys.prefix), Path(sys.base_prefix)):
        user.enter(folder)
    return user


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder of root's that nobody else may enter, with a folder and a file in it."""
    with tempfile.TemporaryDirectory(prefix="sluice-closed-") as name:
        folder = Path(name)
        (folder / "project").mkdir()
        (folder / "project" / "file").write_text("text")
        yield folder


@pytest.fixture
def owned(tmp_path: Path, user: SystemUser) -> os.stat_result:
    """The status of a file that belongs to the user."""
    file = tmp_path / "owned"
    file.touch()
    os.chown(file, user.user_id, user.group_id)
    return file.stat()


def read(file: Path, reader: os.stat_result) -> str:
    return run_program("cat", file, folder=Path("/"), owner=reader).stdout


def test_only_this_user_may_pass_a_closed_folder(
    user: SystemUser, owned: os.stat_result, closed: Path, tmp_path: Path
) -> None:
    file = closed / "project" / "file"
    assert read(file, owned) == ""
    assert user.enter(file.parent) == [closed]
    assert read(file, owned) == "text"
    os.chown(tmp_path / "owned", NOBODY, NOBODY)
    assert read(file, (tmp_path / "owned").stat()) == ""
    assert user.enter(file.parent) == []
    assert stat.S_IMODE(closed.stat().st_mode) & stat.S_IRWXO == 0


def test_unreadable_file_is_named(user: SystemUser, closed: Path) -> None:
    file = closed / "project" / "file"
    user.enter(file.parent)
    user.require_readable([file])
    file.chmod(0o600)
    with pytest.raises(StackError, match=f"the user {user.name} cannot read {file}; run: chmod"):
        user.require_readable([file])


def test_unreadable_env_file_is_skipped(user: SystemUser, owned: os.stat_result, closed: Path) -> None:
    folder = closed / "project"
    user.enter(folder)
    (folder / ".env").write_text("PORT=1234")
    (folder / ".env").chmod(0o600)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    for owner, port in ((None, "1234"), (owned, "8000")):
        done = run_program(sys.executable, "-c", PORT, environment=environment, folder=folder, owner=owner)
        assert (done.stdout, done.stderr) == (f"{port}\n", "")


def test_data_folder_of_root_is_refused_in_one_line(owned: os.stat_result, closed: Path, user: SystemUser) -> None:
    """If somebody else starts a stack on it."""
    data_dir = closed / "data"
    with open_place(data_dir):
        pass
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "DATA_DIR": str(data_dir), "JWT_SECRET": SECRET}
    folder = closed / "project"
    user.enter(folder)
    command = (sys.executable, "-m", "pipeline", "up")
    done = run_program(*command, environment=environment, folder=folder, owner=owned)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"sluice: {data_dir / 'lock'}: Permission denied; correct this, or set DATA_DIR to another folder\n"
    )
