"""Row 11 of the fault matrix: a disk is full, PostgreSQL's or the one with the temporary files."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.databases import find_violations, migrate, run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client
from tests.faults.test_requests import ApiProcess
from tests.faults.test_workers import unique
from tests.waiting import wait_until

DISK_MIB = 64
FILLING = "filling"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of a few MiB at this place."""
    folder.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=1777", "tmpfs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("row 11 needs the mount command")
    if done.returncode:
        pytest.skip(f"row 11 needs the right to mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


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
    """A database with its tables on that disk, but not the log of PostgreSQL: its URL for us and for the service."""
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


def test_row_11_disk_of_the_database_full(cluster: Cluster) -> None:
    with small_disk(cluster.folder / "disk") as disk, database_on(disk, cluster) as (admin_url, url):
        _api, address = cluster.start_api(DATABASE_URL=url)
        client = Client(address)
        first = cluster.start_worker(DATABASE_URL=url)
        ready = client.accept(unique("before", 20))
        assert client.wait(ready)["status"] == "ready"
        first.stop()
        waiting = [client.accept(unique(f"waiting {number}", 300)) for number in range(3)]
        fill(disk)
        worker = cluster.start_worker(DATABASE_URL=url)

        def is_refused() -> bool:
            response = client.upload(unique("refused", 5000))
            assert response is not None
            assert response.status_code in (202, 507)
            if response.status_code == 202:
                waiting.append(response.json()["id"])
                return False
            assert (response.json()["code"], response.headers["retry-after"]) == ("storage_full", "60")
            return True

        wait_until(is_refused, 10, "the first refusal")
        wait_until(lambda: worker.log.read_text().count("storage_full") >= 1, 30, "a worker finds no room")
        for _ in range(200):
            found = client.search()
            assert found is not None
            assert found.status_code == 200
            assert found.json()["passages"]
        client.login()
        for path in ("/v1/documents", f"/v1/documents/{ready}", f"/v1/documents/{ready}/text", "/health/ready"):
            assert client.http.get(path).status_code == 200, path
        claims = worker.log.read_text().count("ingestion.interrupted")
        time.sleep(8)
        tries = worker.log.read_text().count("ingestion.interrupted") - claims
        assert tries <= len(waiting), f"{tries} tries in 8 s: a document that found no room waits for 15"
        assert {client.show(document)["status"] for document in waiting} <= {"pending", "processing"}
        make_room(disk)
        took = wait_until(lambda: run_sql(admin_url, "SELECT 1 FROM jobs") == [], 60, "the queue is empty")
        print(f"all of {len(waiting)} done {took:.1f} s after there was room")
        documents = [client.show(document) for document in waiting]
        assert {document["status"] for document in documents} == {"ready"}
        assert {document["attempts"] for document in documents} == {1}
        assert find_violations(admin_url) == {}
        client.http.close()
        cluster.kill_workers()
        _api.stop()


def test_row_11_disk_of_temporary_files_full(cluster: Cluster, api_process: ApiProcess) -> None:
    with small_disk(cluster.folder / "disk") as disk:
        api, url = cluster.start_api(TMPDIR=str(disk))
        client, with_room = Client(url), Client(api_process[1])
        worker = cluster.start_worker(TMPDIR=str(disk))
        # Python chooses the folder of temporary files once, and passes over a full one.
        assert client.wait(client.accept(unique("before")))["status"] == "ready"
        fill(disk)
        response = client.upload(unique("refused", 40_000))
        assert response is not None
        assert (response.status_code, response.json()["code"]) == (507, "storage_full")
        document_id = with_room.accept(unique("waiting", 300))
        wait_until(lambda: "storage_full" in worker.log.read_text(), 30, "the worker finds no room")
        wait_until(lambda: with_room.show(document_id)["status"] == "pending", 5, "the job is given back")
        assert with_room.show(document_id)["attempts"] == 0
        assert client.http.get("/v1/documents").status_code == 200
        make_room(disk)
        assert with_room.wait(document_id, 40)["status"] == "ready"
        assert client.wait(client.accept(unique("accepted", 300)), 40)["status"] == "ready"
        assert find_violations(cluster.database_url) == {}
        client.http.close()
        with_room.http.close()
        cluster.kill_workers()
        api.stop()
        run_sql(cluster.database_url, "DELETE FROM users")
