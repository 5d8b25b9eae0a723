"""Rows 36 to 38 of the fault matrix: a read-only database, a newer schema, another isolation level."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.databases import run_sql
from tests.faults.cluster import Cluster
from tests.faults.history import Client, unique
from tests.waiting import wait_until


@contextmanager
def changed_setting(cluster: Cluster, name: str, value: str) -> Iterator[None]:
    """Change a setting of the server, also for open sessions that have not set it themselves."""
    run_sql(cluster.database_url, f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        run_sql(cluster.database_url, f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()")


def shows_database(client: Client, state: str) -> bool:
    response = client.http.get("/health/ready")
    return response.status_code == 200 and response.json()["checks"]["database"] == state


def test_row_36_database_read_only(cluster: Cluster, client: Client) -> None:
    waiting = client.accept(unique("read-only"))
    with changed_setting(cluster, "default_transaction_read_only", "on"):
        wait_until(lambda: shows_database(client, "read_only"), 10, "readiness says so")
        worker = cluster.start_worker()
        for method, path, options in [
            ("POST", "/v1/documents", {"files": {"file": ("a.txt", b"refused")}}),
            ("POST", "/v1/notes", {"json": {"title": "x", "body": "y"}}),
            ("DELETE", f"/v1/documents/{waiting}", {}),
        ]:
            response = client.http.request(method, path, **options)  # type: ignore[arg-type]  # the parameters of all cases
            assert (response.status_code, response.json()["code"]) == (503, "database_unavailable"), path
            assert "read-only" in response.json()["detail"]
        assert client.http.get("/v1/documents").status_code == 200
        assert client.http.post("/v1/search", json={"query": "x"}).status_code == 200
        assert client.http.post("/v1/auth/login", json=client.credentials).status_code == 200
        wait_until(lambda: "consumer.database_unavailable" in worker.log.read_text(), 30, "the worker waits")
        assert client.show(waiting)["status"] == "pending"
    assert client.wait(waiting, 30)["status"] == "ready"
    assert client.show(waiting)["attempts"] == 1


def test_row_37_schema_newer_than_the_code(cluster: Cluster, client: Client) -> None:
    [[revision]] = run_sql(cluster.database_url, "SELECT version_num FROM alembic_version")
    run_sql(cluster.database_url, "UPDATE alembic_version SET version_num = '9999'")
    try:
        response = client.http.get("/health/ready")
        assert (response.status_code, response.json()["checks"]["migrations"]) == (200, "ahead")
    finally:
        run_sql(cluster.database_url, f"UPDATE alembic_version SET version_num = '{revision}'")


def test_row_38_operator_sets_an_isolation_level(cluster: Cluster, client: Client) -> None:
    end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'"
    with changed_setting(cluster, "default_transaction_isolation", "serializable"):
        run_sql(cluster.database_url, end_sessions)
        wait_until(lambda: shows_database(client, "ok"), 10, "readiness")
        cluster.start_worker()
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda number: client.upload(unique(str(number))), range(24)))
        assert [answer.status_code for answer in answers if answer] == [202] * len(answers)
        wait_until(lambda: run_sql(cluster.database_url, "SELECT FROM jobs") == [], 60, "the queue is empty")
    rows = run_sql(cluster.database_url, "SELECT DISTINCT status, attempts FROM documents")
    assert [tuple(row) for row in rows] == [("ready", 1)]
