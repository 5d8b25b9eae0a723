"""Databases for tests: create, clone, migrate, empty and query them."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, Pool, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from pipeline.db.connection import connect, make_options
from pipeline.db.models import SERVICE_ROLE
from pipeline.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
ALEMBIC = Config(PROJECT / "alembic.ini")
SCHEMA = """
SELECT version_num, (SELECT array_agg((relname, relkind, relrowsecurity)::text ORDER BY relname) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace) AS relations FROM alembic_version"""
"""What a test may have changed besides rows."""
EMPTY = """
DO $$
DECLARE name regclass;
BEGIN
    PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
    -- Without triggers the order of the tables does not matter.
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT oid FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            AND relname NOT IN ('alembic_version', 'worker_secrets')  -- which migrations fill
    LOOP
        EXECUTE format('DELETE FROM %s', name);
    END LOOP;
    -- DELETE alone is ten times as fast, but it would leave the vector index full of dead entries.
    TRUNCATE chunks, vectors;
END $$"""


async def _run(url: str, statements: tuple[str, ...], arguments: tuple[object, ...]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        rows: list[asyncpg.Record] = []
        for statement in statements:
            rows = await connection.fetch(statement, *arguments)
        return rows
    finally:
        await connection.close()


def run_sql(url: str, *statements: str, arguments: tuple[object, ...] = ()) -> list[asyncpg.Record]:
    """Run statements one by one, outside a transaction; returns the rows of the last."""
    return asyncio.run(_run(url, statements, arguments))


async def fetch(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement; for tests that are coroutines."""
    return await _run(url, (statement,), arguments)


async def fetch_value(url: str, statement: str, *arguments: object) -> Any:
    return (await fetch(url, statement, *arguments))[0][0]


def clone_database(server_url: str, name: str, *, template: str) -> str:
    run_sql(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def migrate(url: str, revision: str) -> None:
    """Upgrade to a revision, in this process."""
    with patch.dict(os.environ, DATABASE_URL=url):
        command.upgrade(ALEMBIC, revision)


def downgrade(url: str, revision: str) -> None:
    """Go back to a revision, in this process."""
    with patch.dict(os.environ, DATABASE_URL=url):
        command.downgrade(ALEMBIC, revision)


class Databases:
    """Empty databases of the newest schema on one server."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template
        self._lent: str | None = None
        self._schema: list[asyncpg.Record] = []

    def clone(self, template_url: str | None = None) -> str:
        """Return the URL of a new database, empty or like another one."""
        template = urlsplit(template_url).path.lstrip("/") if template_url else self._template
        return clone_database(self._server_url, f"test_{uuid4().hex}", template=template)

    def lend(self) -> str:
        """Return the URL of a database that the previous borrower is done with, without its rows.

        Emptying takes a tenth of the time of cloning. If the schema has changed, it is a new database.
        """
        if self._lent is not None and self._empty(self._lent):
            return self._lent
        self._lent = self.clone()
        self._schema = run_sql(self._lent, SCHEMA)
        return self._lent

    def _empty(self, url: str) -> bool:
        """Return whether the database could be emptied and is as it was."""
        try:
            return run_sql(url, EMPTY, SCHEMA) == self._schema
        except asyncpg.PostgresError:
            return False


@asynccontextmanager
async def connecting(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection as the service does."""
    options = make_options(timeout_seconds=10, role=SERVICE_ROLE, is_pooled=False)
    driver = await connect(settings.sqlalchemy_url.replace("+asyncpg", ""), is_pooled=False, **options)
    try:
        yield driver
    finally:
        await driver.close()


@contextmanager
def rewrite_statements(rewrite: Callable[[str], str]) -> Iterator[None]:
    """Pass every statement that SQLAlchemy sends through a function. `Database.statement` sends its own."""

    def before_execute(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> Any:
        return rewrite(statement), parameters

    event.listen(Engine, "before_cursor_execute", before_execute, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before_execute)


@contextmanager
def note_direct_statements(noted: list[str]) -> Iterator[None]:
    """Note the statements of `Database.statement`."""

    def note(logged: asyncpg.connection.LoggedQuery) -> None:
        noted.append(logged.query)

    def watch(connection: DBAPIConnection, *_: object) -> None:
        connection.driver_connection.add_query_logger(note)

    event.listen(Pool, "checkout", watch)
    try:
        yield
    finally:
        event.remove(Pool, "checkout", watch)


# What must hold in every database when no work is left. Each query finds the rows that break a rule.
INVARIANTS = {
    "unfinished documents": "SELECT id FROM documents WHERE status NOT IN ('ready', 'failed')",
    "unfinished notes": "SELECT id FROM notes WHERE status NOT IN ('ready', 'failed')",
    "failed documents without a reason": "SELECT id FROM documents WHERE status = 'failed' AND error_code IS NULL",
    "jobs left": "SELECT subject_id FROM jobs WHERE kind <> 'webhook'",
    "jobs of receivers without an event": """
        SELECT subject_id FROM jobs WHERE kind = 'webhook' AND NOT EXISTS (SELECT FROM webhook_deliveries AS delivery
            WHERE delivery.owner_id = jobs.owner_id AND stream_id = subject_id AND status = 'pending')""",
    "events that nobody sends": """
        SELECT id FROM webhook_deliveries AS delivery WHERE status = 'pending' AND NOT EXISTS (SELECT FROM jobs
            WHERE jobs.owner_id = delivery.owner_id AND kind = 'webhook' AND subject_id = stream_id)""",
    "chunks without an account": "SELECT chunks.id FROM chunks LEFT JOIN users ON users.id = owner_id WHERE users.id IS NULL",
    "chunks of documents that are neither ready nor a failed new version": """
        SELECT chunks.id FROM chunks JOIN documents ON documents.id = document_id
        WHERE status <> 'ready' AND (ingested_at IS NULL OR NOT EXISTS (SELECT FROM audit_logs
            WHERE details ->> 'document_id' = documents.id::text AND details ->> 'replaced_sha256' IS NOT NULL))""",
    "documents without exactly the chunks 0 to n-1": """
        SELECT documents.id FROM documents LEFT JOIN chunks ON chunks.document_id = documents.id
        GROUP BY documents.id, documents.chunks
        HAVING count(chunks.id) <> documents.chunks OR count(DISTINCT ordinal) <> documents.chunks
            OR min(ordinal) <> 0 OR max(ordinal) <> documents.chunks - 1""",
    "ready notes without exactly the chunks 0 to n-1": """
        SELECT notes.id FROM notes LEFT JOIN chunks ON chunks.note_id = notes.id
        WHERE status = 'ready' GROUP BY notes.id, notes.chunks
        HAVING count(chunks.id) <> notes.chunks OR count(DISTINCT ordinal) <> notes.chunks
            OR min(ordinal) <> 0 OR max(ordinal) <> notes.chunks - 1""",
    "vectors of models that are neither active nor next": """
        SELECT chunk_id FROM vectors WHERE model NOT IN (SELECT name FROM embedding_models)""",
    "chunks without a vector of the active model, or with a vector of another document or note": """
        SELECT chunks.id FROM chunks CROSS JOIN embedding_models LEFT JOIN vectors
            ON vectors.owner_id = chunks.owner_id AND chunk_id = chunks.id AND vectors.model = name
            AND (vectors.document_id, vectors.note_id) IS NOT DISTINCT FROM (chunks.document_id, chunks.note_id)
        WHERE state = 'active' AND chunk_id IS NULL""",
    "chunks whose text is not the text at their position": """
        SELECT chunks.id FROM chunks
        JOIN (SELECT document_id, string_agg(text, '' ORDER BY page) AS text FROM document_pages GROUP BY document_id)
            AS whole USING (document_id)
        WHERE substr(whole.text, start + 1, "end" - start) <> chunks.text""",
    "documents without exactly one first upload in the audit log": """
        SELECT documents.id FROM documents LEFT JOIN audit_logs
            ON event_type = 'document.upload' AND details ->> 'document_id' = documents.id::text
            AND details ->> 'replaced_sha256' IS NULL
        GROUP BY documents.id HAVING count(audit_logs.id) <> 1""",
    "stored bytes that do not hash to sha256": """
        SELECT documents.id FROM documents JOIN document_slices ON document_id = documents.id
        GROUP BY documents.id, documents.sha256
        HAVING sha256(string_agg(data, ''::bytea ORDER BY position)) <> documents.sha256""",
}


def find_violations(url: str) -> dict[str, int]:
    """Return how many rows break each invariant, without those that hold."""
    counts = [f"SELECT '{name}' AS name, count(*) FROM ({query}) AS rows" for name, query in INVARIANTS.items()]
    return {name: count for name, count in run_sql(url, " UNION ALL ".join(counts)) if count}


def migrate_again(url: str, dump: Path, pg_restore: Path) -> str:
    """Restore a dump into a new database and migrate it, as the runbook says. Return the new URL."""
    name = f"restored_{uuid4().hex}"
    restored = clone_database(url, name, template="template0")
    subprocess.run([pg_restore, "--exit-on-error", f"--dbname={restored}", dump], check=True)
    migrate(restored, "head")
    return restored
