"""Row 32 of the fault matrix, for 15 seconds. `make chaos` runs longer and with other seeds."""

import pytest

from tests.databases import run_sql
from tests.faults import chaos
from tests.faults.cluster import LEASE_SECONDS, Cluster

SECONDS = 15
SEED = 4


@pytest.mark.usefixtures("alone")
def test_row_32_everything_at_once(cluster: Cluster) -> None:
    report = chaos.run(cluster, seconds=SECONDS, seed=SEED)
    print(report)
    run_sql(cluster.database_url, "DELETE FROM users")
    assert report.losses == []
    assert report.availability >= 0.99
    assert max(report.recoveries, default=0) < LEASE_SECONDS + 5
