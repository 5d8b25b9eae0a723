"""Rows 33 and 42 of the fault matrix: the disk of `make up` is full; `make up` is killed and started again."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis
from pydantic import SecretStr

from pipeline.operations.doctor import Verdict, examine
from pipeline.settings import Settings
from tests.databases import find_violations, run_sql
from tests.e2e.conftest import Up
from tests.faults.history import Client, unique
from tests.faults.test_disk import end_pauses, fill, make_room, mount, unmount, upload_until_refused
from tests.processes import is_alive
from tests.service import NO_LIMITS, SECRET
from tests.waiting import wait_until

DISK_MIB = 200
"""Room for an empty database, and for the WAL that the stack reserves."""
READY_SECONDS = 90
"""Longest wait for a document. A worker that has just been started loads its model first."""
SWITCH_WAL = "SELECT pg_logical_emit_message(false, 'row 33', ''), pg_switch_wal()"


class Stack:
    """`make up` on a small disk, if one can be mounted. Tests may kill it and start it again."""

    def __init__(self, data_dir: Path, reason: str) -> None:
        self.data_dir = data_dir
        self.reason = reason
        """Why its disk is not small."""
        self.up = self.start()

    def start(self) -> Up:
        self.up = Up(self.data_dir, **NO_LIMITS)
        return self.up

    @property
    def owner_url(self) -> str:
        return self.up.servers["database_owner_url"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="sluice-stack-") as folder:
        data_dir = Path(folder) / "data"
        reason = mount(data_dir, DISK_MIB)
        try:
            stack = Stack(data_dir, reason)
            yield stack
            stack.up.stop()
        finally:
            if not reason:
                unmount(data_dir)


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.up.url) as client:
        yield client


def find_members(folder: Path) -> list[psutil.Process]:
    """Return all processes that hold the lock of this data folder."""
    lock = str(folder / "children.lock")
    found = []
    for process in psutil.process_iter():
        try:
            if any(file.path == lock for file in process.open_files()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def is_answering(url: str) -> bool:
    with redis.Redis.from_url(url) as guest, suppress(redis.ConnectionError):
        return bool(guest.ping())
    return False


def read_everywhere(client: Client, document: str) -> None:
    """Call routes that have not been called before, too: their metrics need new memory."""
    found = client.search()
    assert found is not None
    assert found.json()["passages"]
    client.login()
    document_path = f"/v1/documents/{document}"
    paths = ("/v1/documents", document_path, f"{document_path}/text", "/v1/notes", "/v1/users/me", "/metrics")
    for path in (*paths, "/health/live", "/health/ready", "/docs", "/"):
        assert client.http.get(path).status_code == 200, path


def test_row_33_disk_full(stack: Stack, client: Client) -> None:
    if stack.reason:
        pytest.skip(f"row 33 needs the right to mount a small disk: {stack.reason}")
    ready = client.accept(unique("before", 20))
    assert client.wait(ready, READY_SECONDS)["status"] == "ready"
    [api], [worker] = stack.up.find_processes("-m api"), stack.up.find_processes("-m workers")
    [valkey] = stack.up.find_processes("valkey-server")
    fill(stack.data_dir)
    waiting = upload_until_refused(client)
    # More WAL than a segment holds, as many small changes make it in time.
    run_sql(stack.owner_url, SWITCH_WAL, SWITCH_WAL)
    valkey.kill()
    for _ in range(5):
        read_everywhere(client, ready)
        upload_until_refused(client)
    wait_until(lambda: is_answering(stack.up.servers["redis_url"]), 10, "another Valkey")
    make_room(stack.data_dir)
    waiting.append(client.accept(unique("after", 20)))
    end_pauses(stack.owner_url)
    assert {client.wait(document, READY_SECONDS)["status"] for document in waiting} == {"ready"}
    assert (is_alive(api), is_alive(worker), is_alive(valkey)) == (True, True, False)
    assert find_violations(stack.owner_url) == {}


def test_row_33_doctor_names_the_full_disk_first(tmp_path: Path) -> None:
    """PostgreSQL, which stopped because of it, is the second finding."""
    disk = tmp_path / "disk"
    if reason := mount(disk, 1):
        pytest.skip(f"row 33 needs the right to mount a small disk: {reason}")

    async def find_failures() -> list[str]:
        url = SecretStr("postgresql://sluice_service:@/postgres?host=/nowhere")
        settings = Settings(_env_file=None, data_dir=disk, database_url=url, jwt_secret=SecretStr(SECRET))
        return [f"{found.part}: {found.found}" async for found in examine(settings) if found.verdict == Verdict.FAILED]

    fill(disk)
    first, second, *_ = asyncio.run(find_failures())
    unmount(disk)
    assert first == f"data folder: {disk}: 0 MiB of 1 MiB free: the disk is full or nearly full"
    assert second.startswith("database: a local socket")


def test_row_42_killed_and_started_again(stack: Stack, client: Client) -> None:
    waiting = [client.accept(unique(f"waiting {number}", 300)) for number in range(3)]
    before = psutil.Process(stack.up.process.pid).children(recursive=True)
    stack.up.process.kill()
    stack.up.close()
    up = stack.start()
    after = find_members(stack.data_dir)
    assert [process for process in before if is_alive(process)] == []
    names = [process.name() for process in after if process.ppid() == up.process.pid]
    assert sorted(names) == ["postgres", "python", "python", "valkey-server"]
    with Client(up.url) as again:
        again.http.headers.update(client.http.headers)
        assert {again.wait(document, READY_SECONDS)["status"] for document in waiting} == {"ready"}
    assert find_violations(stack.owner_url) == {}
    up.stop()
    assert up.process.returncode == 0
    assert find_members(stack.data_dir) == []
    assert [process for process in after if is_alive(process)] == []
