"""Row 51 of the fault matrix: the service role tries to run code as the owner of a function."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from pipeline.db.models import SERVICE_ROLE
from tests.databases import fetch, run_sql
from tests.faults.cluster import DATABASE, Cluster

SEIZE = """
    CREATE FUNCTION pg_temp.seize() RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN RAISE WARNING 'seized as %', current_user; RETURN true; END $$"""
SHADOW = """
    CREATE TEMPORARY VIEW {table} AS
    SELECT real.* FROM (SELECT pg_temp.seize() AS ran OFFSET 0) AS trap LEFT JOIN public.{table} AS real ON true
    WHERE trap.ran"""
DEFINERS = "SELECT proname, proargtypes::regtype[]::text[] AS types FROM pg_proc WHERE prosecdef"
ARGUMENTS = {
    "bytea": "word",
    "text": "word",
    "tsquery": "word",
    "integer": "1",
    "smallint": "1",
    "boolean": "true",
    "uuid[]": "{01a2084b-9065-752d-aaf7-35b94206de34}",
    "uuid": "01a2084b-9065-752d-aaf7-35b94206de34",
}


async def attack(cluster: Cluster) -> tuple[int, list[str]]:
    """Shadow every table, then call every SECURITY DEFINER function. Return their number, and who ran the trap."""
    definers = await fetch(cluster.database_url, DEFINERS)
    tables = await fetch(
        cluster.database_url,
        """SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
           AND has_table_privilege($1, oid, 'SELECT')""",
        SERVICE_ROLE,
    )
    seized: list[str] = []
    connection = await asyncpg.connect(cluster.direct_url)
    try:
        connection.add_log_listener(lambda _connection, message: seized.append(message.message))
        await connection.execute(SEIZE)
        for row in tables:
            await connection.execute(SHADOW.format(table=row["relname"]))
        await connection.fetch("SELECT FROM documents")
        assert seized == [f"seized as {SERVICE_ROLE}"], "the trap works"
        seized.clear()
        for row in definers:
            arguments = ", ".join(f"'{ARGUMENTS[kind]}'::{kind}" for kind in row["types"])
            await connection.fetch(f"SELECT public.{row['proname']}({arguments})")
    finally:
        await connection.close()
    return len(definers), seized


@contextmanager
def allow_temporary_objects(cluster: Cluster) -> Iterator[None]:
    run_sql(cluster.database_url, f"GRANT TEMPORARY ON DATABASE {DATABASE} TO {SERVICE_ROLE}")
    try:
        yield
    finally:
        run_sql(cluster.database_url, f"REVOKE TEMPORARY ON DATABASE {DATABASE} FROM {SERVICE_ROLE}")


def test_row_51_tables_shadowed_by_the_service_role(cluster: Cluster) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        run_sql(cluster.direct_url, "CREATE TEMPORARY VIEW documents AS SELECT 1")
    with allow_temporary_objects(cluster):
        functions, seized = asyncio.run(attack(cluster))
    assert functions >= 4
    assert seized == []
