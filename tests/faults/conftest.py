"""One cluster for all fault tests of a process. Each test repairs what it breaks."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.databases import find_violations, run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client


@pytest.fixture(autouse=True)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Share the processors with the tests of other processes, or wait for them and keep them waiting: see `alone`."""
    if not hasattr(request.config, "workerinput"):
        yield  # there are no other processes
        return
    way = fcntl.LOCK_EX if "alone" in request.fixturenames else fcntl.LOCK_SH
    folder = tmp_path_factory.getbasetemp().parent
    with (folder / "machine.gate").open("w") as gate, (folder / "machine").open("w") as lock:
        # Who waits here goes first: otherwise tests that share the machine would follow each other without end.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(lock, way)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture
def alone() -> None:
    """For a test that needs the whole machine, because it measures how soon the busy service recovers."""


@pytest.fixture(scope="session")
def own_cluster() -> Iterator[Cluster]:
    # Not pytest's tmp_path: sockets need short paths, and the user of PostgreSQL needs access.
    with tempfile.TemporaryDirectory(prefix="sluice-faults-") as folder, closing(Cluster(Path(folder))) as cluster:
        yield cluster


@pytest.fixture
def cluster(own_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, without any worker. After the test everything is repaired. If it fails, pytest shows the logs."""
    yield own_cluster
    own_cluster.print_logs()
    own_cluster.heal()
    own_cluster.kill_processes()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """A user of the API that all tests share. After the test the invariants hold."""
    with Client(cluster.shared_api.url) as client:
        yield client
    violations = find_violations(cluster.database_url)
    run_sql(cluster.database_url, "DELETE FROM jobs", "DELETE FROM users")
    assert violations == {}
