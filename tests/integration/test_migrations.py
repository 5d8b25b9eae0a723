import pytest

from tests.databases import alembic, clone_database, run_sql


@pytest.fixture(scope="module")
def empty_database(postgres_url: str) -> str:
    return clone_database(postgres_url, "migrations", template="template1")


def list_tables(url: str) -> set[str]:
    rows = run_sql(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row["tablename"] for row in rows}


def test_up_down_up_and_in_step_with_the_models(empty_database: str) -> None:
    alembic(empty_database, "upgrade", "head")
    tables = list_tables(empty_database)
    assert {"users", "documents", "document_slices", "document_pages", "chunks", "jobs", "audit_logs"} <= tables
    alembic(empty_database, "downgrade", "base")
    assert list_tables(empty_database) == {"alembic_version"}
    alembic(empty_database, "upgrade", "head")
    assert list_tables(empty_database) == tables
    assert "No new upgrade operations" in alembic(empty_database, "check").stdout


def test_owner_leads_the_key_of_every_owned_table(template_url: str) -> None:
    keys = run_sql(
        template_url,
        """SELECT relname AS table, attname AS first_column FROM pg_index
           JOIN pg_class ON pg_class.oid = indrelid
           JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
           WHERE indisprimary AND relnamespace = 'public'::regnamespace""",
    )
    first_columns = {row["table"]: row["first_column"] for row in keys}
    shared_by_all = {"users", "audit_logs", "alembic_version"}
    assert {table for table, column in first_columns.items() if column != "owner_id"} == shared_by_all


def test_vectors_have_an_index(template_url: str) -> None:
    rows = run_sql(template_url, "SELECT indexdef FROM pg_indexes WHERE tablename = 'chunks'")
    assert sum("hnsw" in row["indexdef"] and "vector_cosine_ops" in row["indexdef"] for row in rows) == 3
