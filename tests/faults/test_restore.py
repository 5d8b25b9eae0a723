"""Row 50 of the fault matrix: a dump of a working service is restored on another server."""

import asyncio
import subprocess
from pathlib import Path
from uuid import uuid4

from pipeline.db.schema import prepare_service
from tests.databases import clone_database, find_violations, migrate, run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client, unique
from tests.servers import find_postgres_program
from tests.waiting import wait_until

ROLES = ("sluice_service LOGIN", "sluice_functions")
"""The roles that the runbook tells to create before a restore."""


def test_row_50_dump_of_a_working_service_is_restored_elsewhere(
    cluster: Cluster, client: Client, postgres_url: str, tmp_path: Path
) -> None:
    """The documents of the dump are finished on the new server, also the one that a worker of the old one holds."""
    worker = cluster.start_worker(FAULT_HOOK="embedding:hang", WORKER_CONCURRENCY="1")
    held = client.accept(unique("held"))
    wait_until(lambda: client.show(held)["status"] == "processing", 30, "the worker holds the document")
    waiting = client.accept(unique("waits"))
    restored = restore(cluster.database_url, postgres_url, tmp_path / "sluice.dump")
    database_url = restored.replace("//postgres:", "//sluice_service:")
    redis_url = cluster.environment["REDIS_URL"].removesuffix("0") + "1"
    api = cluster.start_api(DATABASE_URL=database_url, REDIS_URL=redis_url)
    cluster.start_worker(DATABASE_URL=database_url, REDIS_URL=redis_url)
    client.http.base_url = api.url
    client.login()
    assert {client.wait(document)["status"] for document in (held, waiting)} == {"ready"}
    found = client.http.post("/v1/search", json={"query": "held"}).raise_for_status().json()["passages"]
    assert {passage["document_id"] for passage in found} == {held, waiting}
    assert find_violations(restored) == {}
    may_create = "SELECT has_database_privilege('sluice_service', current_database(), 'TEMPORARY') AS may"
    assert not run_sql(restored, may_create)[0]["may"], "no dump contains that this was forbidden"
    client.http.base_url = client.url
    assert client.show(held)["status"] == "processing", "the old service does not notice"
    worker.kill()
    cluster.start_worker()
    assert {client.wait(document)["status"] for document in (held, waiting)} == {"ready"}


def restore(source_url: str, target_url: str, dump: Path) -> str:
    """Dump a database and restore it on another server, as the runbook says. Return the new URL.

    Migrating and preparing is what `python -m pipeline migrate` does.
    """
    tool = find_postgres_program("pg_dump")
    subprocess.run([tool, "--format=custom", f"--file={dump}", source_url], check=True)
    existing = {row["rolname"] for row in run_sql(target_url, "SELECT rolname FROM pg_roles")}
    for role in ROLES:
        if role.split()[0] not in existing:
            run_sql(target_url, f"CREATE ROLE {role}")
    restored = clone_database(target_url, f"restored_{uuid4().hex}", template="template0")
    subprocess.run([tool.with_name("pg_restore"), "--exit-on-error", f"--dbname={restored}", dump], check=True)
    migrate(restored, "head")
    asyncio.run(prepare_service(restored, None))
    return restored
