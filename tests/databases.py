"""Databases for tests: made, cloned, migrated and looked into."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
from sqlalchemy import Engine, event


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
    """The same from within a test that is a coroutine."""
    return await _run(url, (statement,), arguments)


async def fetch_value(url: str, statement: str, *arguments: object) -> Any:
    return (await fetch(url, statement, *arguments))[0][0]


def clone_database(server_url: str, name: str, *, template: str) -> str:
    run_sql(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def alembic(url: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run alembic as an operator does."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        env={**os.environ, "DATABASE_URL": url},
        check=check,
        capture_output=True,
        text=True,
    )


def migrate(url: str, revision: str) -> None:
    alembic(url, "upgrade", revision)


@contextmanager
def rewrite_statements(rewrite: Callable[[str], str]) -> Iterator[None]:
    """Pass every statement that SQLAlchemy sends through a function."""

    def before_execute(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> Any:
        return rewrite(statement), parameters

    event.listen(Engine, "before_cursor_execute", before_execute, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before_execute)


# Invariant I of the design: what must hold of every database once the work is done.
INVARIANTS = {
    "documents that did not end": "SELECT id FROM documents WHERE status NOT IN ('ready', 'failed')",
    "notes that did not end": "SELECT id FROM notes WHERE status NOT IN ('ready', 'failed')",
    "failed without reason": "SELECT id FROM documents WHERE status = 'failed' AND error_code IS NULL",
    "jobs left": "SELECT subject_id FROM jobs",
    "chunks of nobody": "SELECT chunks.id FROM chunks LEFT JOIN users ON users.id = owner_id WHERE users.id IS NULL",
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
    "chunks of models that do not answer": """
        SELECT id FROM chunks WHERE model NOT IN (SELECT name FROM embedding_models)""",
    "text of a chunk that is not its slice": """
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
    """How many rows break each invariant; empty when all hold."""
    counts = {name: len(run_sql(url, query)) for name, query in INVARIANTS.items()}
    return {name: count for name, count in counts.items() if count}


def migrate_again(url: str, dump: Path, pg_restore: Path) -> str:
    """Restore a dump into a new database and migrate it, as the runbook says; returns the new URL."""
    name = f"restored_{uuid4().hex}"
    restored = clone_database(url, name, template="template0")
    subprocess.run([pg_restore, "--exit-on-error", f"--dbname={restored}", dump], check=True)
    migrate(restored, "head")
    return restored
