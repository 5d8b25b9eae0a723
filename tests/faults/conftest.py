"""One cluster for all fault tests of a process; what a test breaks it heals."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import find_violations, run_sql
from tests.faults.cluster import Cluster, Process
from tests.faults.history import Client


@pytest.fixture(scope="session")
def servers() -> Iterator[Cluster]:
    # Not pytest's tmp_path: sockets need short paths, and PostgreSQL as root another user's access.
    with tempfile.TemporaryDirectory(prefix="sluice-faults-") as folder:
        cluster = Cluster(Path(folder))
        yield cluster
        cluster.close()


@pytest.fixture(scope="session")
def api_process(servers: Cluster) -> tuple[Process, str]:
    return servers.start_api()


@pytest.fixture
def cluster(servers: Cluster) -> Iterator[Cluster]:
    """The cluster without any worker; afterwards the invariants hold, and everything is healed."""
    yield servers
    servers.heal()
    servers.kill_workers()


@pytest.fixture
def client(cluster: Cluster, api_process: tuple[Process, str]) -> Iterator[Client]:
    client = Client(api_process[1])
    yield client
    client.http.close()
    violations = find_violations(cluster.database_url)
    run_sql(cluster.database_url, "DELETE FROM jobs", "DELETE FROM users")
    assert violations == {}
