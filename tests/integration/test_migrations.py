import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import alembic.config
import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from pipeline.db.requirements import Facts, UnpreparedDatabase, find_problems, require_prepared
from pipeline.db.schema import find_newest_revision
from tests.databases import ALEMBIC, clone_database, downgrade, migrate, run_sql
from tests.processes import run_module, start_module

PROJECT = Path(__file__).resolve().parents[2]

ADDED_CHUNKS = """INSERT INTO chunks (owner_id, id, document_id, ordinal, page, page_end, start, "end", text, lexemes,
        model, embedding)
    SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 0, 1, 1, 0, 1, '', 'word', 'model', '[1]'
    FROM generate_series(1, 9)"""


@pytest.fixture(scope="module")
def empty_database(postgres_url: str) -> str:
    return clone_database(postgres_url, "migrations", template="template1")


def list_tables(url: str) -> set[str]:
    rows = run_sql(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row["tablename"] for row in rows}


def test_schema_goes_up_down_and_up_and_matches_the_models(empty_database: str) -> None:
    migrate(empty_database, "head")
    tables = list_tables(empty_database)
    assert {"users", "documents", "document_slices", "document_pages", "chunks", "jobs", "audit_logs"} <= tables
    downgrade(empty_database, "base")
    assert list_tables(empty_database) == {"alembic_version"}
    migrate(empty_database, "head")
    assert list_tables(empty_database) == tables
    with patch.dict(os.environ, DATABASE_URL=empty_database):
        command.check(ALEMBIC)  # raises if the models need another migration


def test_owner_leads_the_key_of_every_owned_table(template_url: str) -> None:
    keys = run_sql(
        template_url,
        """SELECT relname AS table, attname AS first_column FROM pg_index
           JOIN pg_class ON pg_class.oid = indrelid
           JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
           WHERE indisprimary AND relnamespace = 'public'::regnamespace""",
    )
    first_columns = {row["table"]: row["first_column"] for row in keys}
    of_logins = {"login_failures", "login_slowdowns", "known_networks"}
    of_all_workers = {"embedding_models", "worker_secrets", "alembic_version"}
    shared_by_all = {"users", "audit_logs", *of_logins, "invitations", *of_all_workers}
    assert {table for table, column in first_columns.items() if column != "owner_id"} == shared_by_all


def test_key_of_messages_has_32_bytes(template_url: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        run_sql(template_url, "UPDATE worker_secrets SET secret = 'another length'")


def test_vectors_have_an_index(template_url: str) -> None:
    rows = run_sql(template_url, "SELECT indexdef FROM pg_indexes WHERE tablename = 'vectors'")
    assert sum("hnsw" in row["indexdef"] and "halfvec_cosine_ops" in row["indexdef"] for row in rows) == 3


def test_vectors_stay_in_the_row(template_url: str) -> None:
    rows = run_sql(
        template_url,
        """SELECT attname FROM pg_attribute
           WHERE attrelid = 'vectors'::regclass AND attlen = -1 AND attstorage = 'p'""",
    )
    assert {row["attname"] for row in rows} == {"embedding"}


def test_new_words_do_not_wait_in_a_list(postgres_url: str) -> None:
    """Words that waited in the list before the migration are moved into the index."""
    url = clone_database(postgres_url, "listed_words", template="template1")
    migrate(url, "0017")
    run_sql(url, "SET session_replication_role = replica", ADDED_CHUNKS)
    flush = "SELECT gin_clean_pending_list('ix_chunks_owner_id_lexemes')"
    migrate(url, "head")
    assert run_sql(url, flush)[0][0] == 0
    run_sql(url, "SET session_replication_role = replica", ADDED_CHUNKS)
    assert run_sql(url, flush)[0][0] == 0


def test_words_of_earlier_chunks_are_sampled(postgres_url: str) -> None:
    """A migration that was interrupted goes on with the owners who have no sample."""
    url = clone_database(postgres_url, "sampled_words", template="template1")
    migrate(url, "0019")
    owners = run_sql(
        url,
        """INSERT INTO users (id, email, password_hash)
            SELECT gen_random_uuid(), number, '' FROM generate_series(1, 3) AS number""",
        """INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256, status, chunks)
            SELECT id, id, 'f', 'text/plain', 1, '', 'ready', CASE email WHEN '3' THEN 299 ELSE 300 END FROM users""",
        """INSERT INTO chunks (owner_id, id, document_id, ordinal, page, page_end, start, "end", text, lexemes, model,
                embedding)
            SELECT owner_id, gen_random_uuid(), id, n, 1, 1, n, n + 1, '', 'gate', 'model', '[1]'
            FROM documents, generate_series(0, chunks - 1) AS n""",
        "SELECT id FROM users ORDER BY email",
    )
    samples = (
        "SELECT owner_id FROM word_samples NATURAL JOIN word_shares WHERE chunks = 300 AND word = 'gate' AND share = 1"
    )
    migrate(url, "0020")
    assert {row["owner_id"] for row in run_sql(url, samples)} == {owner["id"] for owner in owners[:2]}
    run_sql(url, "DELETE FROM word_samples WHERE owner_id = $1", arguments=(owners[0]["id"],))
    run_sql(url, "UPDATE alembic_version SET version_num = '0019'")
    migrate(url, "head")
    assert {row["owner_id"] for row in run_sql(url, samples)} == {owner["id"] for owner in owners[:2]}


OLD_CHUNK = """INSERT INTO chunks (owner_id, id, document_id, ordinal, page, page_end, start, "end", text, lexemes, model,
        embedding)
    SELECT owner_id, gen_random_uuid(), id, {ordinal}, 1, 1, 0, 1, '', '', '{model}', '{vector}' FROM documents"""
"""What a process of the release before 0022 does."""
VECTORS = """SELECT ordinal, vectors.model, vectors.embedding::text FROM vectors JOIN chunks ON id = chunk_id
    WHERE vectors.document_id = chunks.document_id ORDER BY ordinal, vectors.model"""


def write_old_chunk(ordinal: int, model: str, vector: str) -> str:
    return OLD_CHUNK.format(ordinal=ordinal, model=model, vector=vector)


@pytest.fixture
def url_before_vectors(postgres_url: str) -> str:
    """A database of revision 0021 with two chunks of the active model and one of a model that is no longer used."""
    url = clone_database(postgres_url, f"vectors_{uuid4().hex}", template="template1")
    migrate(url, "0021")
    run_sql(
        url,
        "INSERT INTO users (id, email, password_hash) VALUES (gen_random_uuid(), 'a', '')",
        """INSERT INTO documents (owner_id, id, filename, media_type, size_bytes, sha256, status, chunks)
            SELECT id, gen_random_uuid(), 'f', 'text/plain', 1, '', 'ready', 3 FROM users""",
        "INSERT INTO embedding_models VALUES ('m', 'active')",
        write_old_chunk(0, "m", "[0,1]"),
        write_old_chunk(1, "m", "[1,1]"),
        write_old_chunk(0, "unused", "[7]"),
    )
    return url


def test_vectors_are_moved_while_old_processes_run(url_before_vectors: str) -> None:
    url = url_before_vectors
    migrate(url, "0022")
    kept = [(0, "m", "[0,1]"), (1, "m", "[1,1]")]
    assert [tuple(row) for row in run_sql(url, VECTORS)] == kept
    run_sql(url, write_old_chunk(2, "m", "[2,1]"), write_old_chunk(2, "next", "[2]"))
    assert [tuple(row) for row in run_sql(url, VECTORS)] == [*kept, (2, "m", "[2,1]"), (2, "next", "[2]")]
    assert run_sql(url, "SELECT count(*) FROM chunks")[0][0] == 3, "one row for each chunk"
    run_sql(
        url,
        "UPDATE chunks SET model = NULL, embedding = NULL WHERE ordinal = 1",  # as a new process writes it
        "DELETE FROM chunks WHERE ordinal = 0",
    )
    downgrade(url, "0021")
    rows = run_sql(url, "SELECT ordinal, model, embedding::text FROM chunks ORDER BY ordinal")
    assert [tuple(row) for row in rows] == [(1, "m", "[1,1]"), (2, "m", "[2,1]")]


def test_interrupted_move_of_vectors_goes_on(url_before_vectors: str) -> None:
    url = url_before_vectors
    migrate(url, "0022")
    moved = run_sql(url, VECTORS)
    index, valid = "ix_vectors_embedding_384", "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{}')"
    run_sql(
        url,
        "DELETE FROM vectors WHERE embedding::text = '[0,1]'",
        f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass",
        "DROP INDEX ix_vectors_embedding_768",
        "UPDATE alembic_version SET version_num = '0021'",
    )
    migrate(url, "0022")
    assert run_sql(url, VECTORS) == moved
    assert run_sql(url, valid.format(index), valid.format("ix_vectors_embedding_768"))[0][0]
    assert run_sql(url, valid.format(index))[0][0]


def test_abandoned_change_during_an_interrupted_move_leaves_no_gap(url_before_vectors: str) -> None:
    url = url_before_vectors
    migrate(url, "0022")
    moved = run_sql(url, VECTORS)
    run_sql(
        url,
        "DELETE FROM vectors",
        "UPDATE alembic_version SET version_num = '0021'",
        "INSERT INTO embedding_models VALUES ('n', 'next')",
        write_old_chunk(0, "n", "[9]"),
    )
    with pytest.raises(RuntimeError, match=r"with the release before this one, abandon it with reembed --model m$"):
        migrate(url, "0022")
    run_sql(url, "DELETE FROM embedding_models WHERE name = 'n'")
    migrate(url, "0022")
    assert [row for row in run_sql(url, VECTORS) if row["model"] == "m"] == moved


def test_vectors_are_not_moved_during_a_change_of_the_model(url_before_vectors: str) -> None:
    run_sql(url_before_vectors, "INSERT INTO embedding_models VALUES ('n', 'next')")
    with pytest.raises(RuntimeError, match=r"finish it with reembed --model n, or abandon it with reembed --model m$"):
        migrate(url_before_vectors, "0022")
    assert "vectors" not in list_tables(url_before_vectors)


def test_commands_of_the_runbook(postgres_url: str) -> None:
    url = clone_database(postgres_url, "runbook_commands", template="template1")
    for arguments in ("upgrade head", "current", "check", "downgrade -1"):
        # `python -m alembic` calls the same function. It exits with an error if the command fails.
        with patch.dict(os.environ, DATABASE_URL=url), contextlib.chdir(PROJECT):
            alembic.config.main(arguments.split(), prog="alembic")
    # It runs `python -m alembic upgrade head` in a child process.
    environment = {
        **os.environ,
        "DATABASE_OWNER_URL": url,
        "DATABASE_URL": url.replace("//postgres:@", "//sluice_service:pass%27word@"),
    }
    done = run_module("pipeline", "migrate", environment=environment)
    assert done.returncode == 0, done.stderr
    assert run_sql(url, "SELECT version_num FROM alembic_version")[0][0] == find_newest_revision()
    hashed = run_sql(url, "SELECT rolpassword FROM pg_authid WHERE rolname = 'sluice_service'")
    assert hashed[0]["rolpassword"].startswith("SCRAM-SHA-256")


def test_autogenerate_is_empty_until_a_model_changes(template_url: str, tmp_path: Path) -> None:
    """Run alembic in a copy of the project, as in an operator's checkout."""
    for part in ("api", "pipeline", "migrations"):
        shutil.copytree(PROJECT / part, tmp_path / part)
    shutil.copy(PROJECT / "alembic.ini", tmp_path)
    with patch.dict(os.environ, DATABASE_URL=template_url):
        command.revision(Config(tmp_path / "alembic.ini"), "nothing", autogenerate=True)
    [empty] = tmp_path.glob("migrations/versions/*_nothing.py")
    assert empty.read_text().count("pass") == 2
    empty.unlink()
    models = tmp_path / "pipeline" / "db" / "models.py"
    models.write_text(
        models.read_text().replace(
            "    ordinal: Mapped[int]\n",
            "    ordinal: Mapped[int]\n    second: Mapped[Any] = mapped_column(HALFVEC(7))\n",
        )
    )
    # A child process, which imports the changed models.
    subprocess.run(
        [sys.executable, "-m", "alembic", "revision", "--autogenerate", "-m", "a second vector"],
        cwd=tmp_path,
        env={**os.environ, "DATABASE_URL": template_url},
        check=True,
        capture_output=True,
    )
    migration = next(tmp_path.glob("migrations/versions/*_a_second_vector.py")).read_text()
    assert "import pgvector.sqlalchemy" in migration
    assert "op.add_column('chunks', sa.Column('second', pgvector.sqlalchemy.halfvec.HALFVEC(dim=7)" in migration
    assert "op.drop_column('chunks', 'second')" in migration
    compile(migration, "migration", "exec")


def test_functions_that_act_as_their_owner_are_safe(template_url: str) -> None:
    """Without pg_temp at the end of its path, a function would use temporary objects of its caller."""
    unsafe = run_sql(
        template_url,
        """SELECT proname FROM pg_proc JOIN pg_roles ON pg_roles.oid = proowner
           WHERE prosecdef AND (proconfig @> '{"search_path=pg_catalog, public, pg_temp"}' IS NOT TRUE
               OR rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb
               OR has_function_privilege('public', pg_proc.oid, 'EXECUTE'))""",
    )
    assert unsafe == []


def test_owner_of_the_functions_may_only_read_what_they_read(template_url: str) -> None:
    rights = run_sql(
        template_url,
        """SELECT relname || '.' || privilege_type AS right FROM pg_class, aclexplode(relacl)
           WHERE grantee = 'sluice_functions'::regrole
           UNION ALL SELECT nspname || '.' || privilege_type FROM pg_namespace, aclexplode(nspacl)
           WHERE grantee = 'sluice_functions'::regrole
           UNION ALL SELECT relname || '.' || attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid,
               aclexplode(attacl) WHERE grantee = 'sluice_functions'::regrole""",
    )
    assert {row["right"] for row in rights} == {
        *("embedding_models.SELECT", "embedding_models.INSERT", "embedding_models.DELETE", "public.USAGE"),
        *("invitations.SELECT", "invitations.DELETE"),
        *("documents.status", "documents.updated_at", "notes.status", "notes.updated_at"),
        *("documents.owner_id", "documents.id", "documents.title_words"),
        *("notes.owner_id", "notes.id", "notes.title_words"),
        *("chunks.owner_id", "chunks.id", "chunks.model", "chunks.lexemes"),
        *("chunks.document_id", "chunks.note_id", "chunks.words_version"),
        *("api_keys.owner_id", "api_keys.id", "api_keys.secret_sha256", "api_keys.scopes", "api_keys.is_bound"),
        *("api_keys.expires_at", "api_keys.last_used_at", "api_key_collections.SELECT"),
        *("users.id", "audit_logs.actor_user_id", "audit_logs.details"),
    }


def test_owner_of_the_functions_can_search_words_by_index(template_url: str) -> None:
    """For the service role, row-level security forbids it."""
    explain = "EXPLAIN SELECT id FROM chunks WHERE lexemes @@ 'word'"
    plans = {
        role: run_sql(template_url, f"SET ROLE {role}", "SET enable_seqscan = off", explain)
        for role in ("sluice_functions", "sluice_service")
    }
    used = {role: "ix_chunks_owner_id_lexemes" in "\n".join(row[0] for row in plan) for role, plan in plans.items()}
    assert used == {"sluice_functions": True, "sluice_service": False}


def test_commands_that_migrate_at_once_wait_for_each_other(postgres_url: str) -> None:
    url = clone_database(postgres_url, "migrated_by_three", template="template1")
    environment = {**os.environ, "DATABASE_URL": url}
    commands = [start_module("alembic", "upgrade", "head", environment=environment) for _ in range(3)]
    assert [command.wait(60) for command in commands] == [0, 0, 0]


MANAGED = Facts(
    postgresql=16,
    owner="sluice",
    database="sluice",
    is_superuser=False,
    may_create_roles=True,
    owns_database=True,
    vector_available="0.8.0",
    vector_version="0.8.0",
    vector_trusted=False,
    foreign_roles=[],
)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"postgresql": 15}, "PostgreSQL 15 is too old"),
        ({"vector_available": None, "vector_version": None}, "the server has no pgvector"),
        ({"vector_version": "0.7.4"}, "pgvector 0.7.4 is too old"),
        ({"vector_version": None}, "in this database: CREATE EXTENSION vector"),
        ({"owns_database": False}, "ALTER DATABASE sluice OWNER TO sluice"),
        ({"may_create_roles": False}, "ALTER ROLE sluice CREATEROLE"),
        ({"foreign_roles": ["sluice_service"]}, "GRANT sluice_service TO sluice WITH ADMIN OPTION"),
    ],
)
def test_what_an_owner_lacks_is_named(change: dict[str, Any], problem: str) -> None:
    assert list(find_problems(MANAGED)) == []
    [found] = find_problems(replace(MANAGED, **change))
    assert problem in found


def test_owner_that_is_no_superuser_migrates(postgres_url: str, template_url: str) -> None:
    """As on a managed server. The migration of the template has created the roles of Sluice before."""
    assert template_url
    url = clone_database(postgres_url, "managed", template="template1")
    parts = urlsplit(url)
    owner_url = urlunsplit(parts._replace(netloc=parts.netloc.replace("postgres:", "managed:", 1)))
    run_sql(url, "CREATE ROLE managed LOGIN")
    refused = run_module("pipeline", "migrate", environment={**os.environ, "DATABASE_URL": owner_url})
    assert refused.returncode == 1
    assert refused.stderr.startswith("sluice: a superuser must run")
    assert refused.stderr.count("\n") == 1
    for statement in (
        "ALTER ROLE managed CREATEROLE",
        "ALTER DATABASE managed OWNER TO managed",
        "CREATE EXTENSION vector",
        "GRANT sluice_service, sluice_functions TO managed WITH ADMIN OPTION",
    ):
        with pytest.raises(UnpreparedDatabase, match=statement.removesuffix(" WITH ADMIN OPTION")):
            asyncio.run(require_prepared(owner_url))
        run_sql(url, statement)
    environment = {**os.environ, "DATABASE_OWNER_URL": owner_url, "DATABASE_URL": url}
    for _ in range(2):
        assert start_module("pipeline", "migrate", environment=environment).wait(60) == 0
    assert run_sql(url, "SELECT version_num FROM alembic_version")[0][0] == find_newest_revision()
