"""Rows 11 and 44 of the fault matrix: a full disk of PostgreSQL or of temporary files, and one user who fills it."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.databases import find_violations, migrate, run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client, unique
from tests.faults.test_requests import begin_upload
from tests.processes import run_program
from tests.waiting import wait_until

DISK_MIB = 64
FILLING = "filling"
WATCH_SECONDS = 3
"""A worker that did not pause would try each document many times meanwhile."""
HELD = "SELECT 1 FROM jobs WHERE lease_token IS NOT NULL"


def mount(folder: Path, mebibytes: int) -> str:
    """Mount a disk of that size at this folder. Return the reason if that is not allowed here."""
    folder.mkdir(exist_ok=True)
    return run_program("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=1777", "tmpfs", folder).stderr.strip()


def unmount(folder: Path) -> None:
    assert run_program("umount", "--lazy", folder).returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of a few MiB at this folder."""
    if reason := mount(folder, DISK_MIB):
        pytest.skip(f"this row needs the right to mount a small disk: {reason}")
    try:
        yield folder
    finally:
        unmount(folder)


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / FILLING).open("ab", buffering=0) as file:
        for size in (1024 * 1024, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail == 0


def make_room(disk: Path) -> None:
    (disk / FILLING).unlink()


@contextmanager
def database_on(disk: Path, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Make a database with its tables on that disk, without PostgreSQL's log. Yield its URL past and through the proxy."""
    folder = disk / "tables"
    folder.mkdir()
    owner = cluster.postgres.folder.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    server = cluster.database_url.rsplit("/", 1)[0]
    run_sql(
        f"{server}/postgres", f"CREATE TABLESPACE small LOCATION '{folder}'", "CREATE DATABASE small TABLESPACE small"
    )
    try:
        migrate(f"{server}/small", "head")
        port = urlsplit(cluster.environment["DATABASE_URL"]).port
        yield f"{server}/small", f"postgresql://sluice_service:@127.0.0.1:{port}/small"
    finally:
        run_sql(f"{server}/postgres", "DROP DATABASE small WITH (FORCE)", "DROP TABLESPACE small")


def end_pauses(url: str) -> None:
    """Let jobs be claimed at once that wait after a full disk. The wait is at most 15 s."""
    pauses = run_sql(url, "SELECT extract(epoch FROM available_at - clock_timestamp()) FROM jobs")
    assert all(pause[0] <= 15 for pause in pauses)
    run_sql(url, "UPDATE jobs SET available_at = clock_timestamp()")


def test_row_11_disk_of_the_database_full(cluster: Cluster) -> None:
    with (
        small_disk(cluster.folder / "disk") as disk,
        database_on(disk, cluster) as (admin_url, url),
        Client(cluster.start_api(DATABASE_URL=url).url) as client,
    ):
        with cluster.start_worker(DATABASE_URL=url):
            ready = client.accept(unique("before", 20))
            assert client.wait(ready)["status"] == "ready"
        waiting = [client.accept(unique(f"waiting {number}", 300)) for number in range(3)]
        fill(disk)
        worker = cluster.start_worker(DATABASE_URL=url)
        waiting += upload_until_refused(client)
        wait_until(lambda: worker.has_logged("storage_full"), 30, "a worker finds no room")
        for _ in range(200):
            found = client.search()
            assert found is not None
            assert found.status_code == 200
            assert found.json()["passages"]
        client.login()
        for path in ("/v1/documents", f"/v1/documents/{ready}", f"/v1/documents/{ready}/text", "/health/ready"):
            assert client.http.get(path).status_code == 200, path
        before = worker.log.read_text().count("ingestion.interrupted")
        time.sleep(WATCH_SECONDS)
        tries = worker.log.read_text().count("ingestion.interrupted") - before
        assert tries <= len(waiting), f"{tries} tries in {WATCH_SECONDS} s: a document waits 15 s after a full disk"
        assert {client.show(document)["status"] for document in waiting} <= {"pending", "processing"}
        make_room(disk)
        wait_until(lambda: run_sql(admin_url, HELD) == [], 20, "all jobs are given back")
        end_pauses(admin_url)
        took = wait_until(lambda: run_sql(admin_url, "SELECT 1 FROM jobs") == [], 60, "the queue is empty")
        print(f"all of {len(waiting)} done {took:.1f} s after their pauses")
        documents = [client.show(document) for document in waiting]
        assert {(document["status"], document["attempts"]) for document in documents} == {("ready", 1)}
        assert find_violations(admin_url) == {}
        cluster.kill_processes()


def upload_until_refused(client: Client) -> list[str]:
    """Return the ids of the documents that still found room."""
    accepted: list[str] = []

    def is_refused() -> bool:
        response = client.upload(unique("refused", 5000))
        assert response is not None
        assert response.status_code in (202, 507)
        if response.status_code == 202:
            accepted.append(response.json()["id"])
            return False
        assert (response.json()["code"], response.headers["retry-after"]) == ("storage_full", "60")
        return True

    wait_until(is_refused, 10, "the first refusal")
    return accepted


def test_row_11_disk_of_temporary_files_full(cluster: Cluster, client: Client) -> None:
    """The user of the shared API, which has another disk, has room."""
    with (
        small_disk(cluster.folder / "disk") as disk,
        Client(cluster.start_api(TMPDIR=str(disk)).url) as without_room,
    ):
        worker = cluster.start_worker(TMPDIR=str(disk))
        # Python chooses the folder of temporary files once, and never a full one.
        assert without_room.wait(without_room.accept(unique("before")))["status"] == "ready"
        fill(disk)
        response = without_room.upload(unique("refused", 40_000))
        assert response is not None
        assert (response.status_code, response.json()["code"]) == (507, "storage_full")
        document_id = client.accept(unique("waiting", 300))
        wait_until(lambda: worker.has_logged("storage_full"), 30, "the worker finds no room")
        wait_until(lambda: client.show(document_id)["status"] == "pending", 5, "the job is given back")
        assert client.show(document_id)["attempts"] == 0
        assert without_room.http.get("/v1/documents").status_code == 200
        make_room(disk)
        end_pauses(cluster.database_url)
        assert client.wait(document_id, 40)["status"] == "ready"
        assert without_room.wait(without_room.accept(unique("accepted", 300)), 40)["status"] == "ready"
        cluster.kill_processes()  # before their disk goes


def test_row_44_stalled_uploads_of_one_account(cluster: Cluster) -> None:
    with small_disk(cluster.folder / "disk") as disk:
        api = cluster.start_api(TMPDIR=str(disk))
        with Client(api.url) as stalling, Client(api.url) as other:
            other.accept(unique("before"))
            everything = os.statvfs(disk).f_bavail
            content = bytes(4 * 1024 * 1024)
            with ExitStack() as connections:
                free = []
                for _ in range(24):
                    connections.enter_context(
                        closing(begin_upload(api.url, stalling, content, send=len(content) - 1000))
                    )
                    free.append(os.statvfs(disk).f_bavail)
                for number in range(3):
                    other.accept(unique(f"other {number}", 300))
            assert everything / 4 < min(free) < everything
            wait_until(lambda: os.statvfs(disk).f_bavail == everything, 10, "nothing is left in the temporary folder")
        cluster.kill_processes()  # before their disk goes
    # No worker ran, and the next test on this cluster expects an empty queue.
    run_sql(cluster.database_url, "DELETE FROM jobs", "DELETE FROM users")
