"""Keep by which version of the rules the words and headings of a chunk were made. Workers renew those of earlier ones.
Revision: 0026, after: 0025

Processes of the release before this one write chunks without a version, which workers then renew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
FUNCTION_OWNER = "sluice_functions"
INDEX = "ix_chunks_words_version"
LISTING = "sluice_list_outdated(smallint, integer)"
COUNTING = "sluice_count_outdated(smallint)"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    # If an earlier run was interrupted, only the index is missing.
    if "words_version" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("chunks")}:
        op.add_column("chunks", sa.Column("words_version", sa.SmallInteger(), nullable=True))
        op.execute(f"GRANT SELECT (document_id, note_id, words_version) ON chunks TO {FUNCTION_OWNER}")
        create_functions()
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        op.execute(f"CREATE INDEX CONCURRENTLY {INDEX} ON chunks (words_version)")


def create_functions() -> None:
    """Create the functions that list documents and notes of all users, and count their chunks, of earlier versions.

    They read the chunks by index. After the last one is renewed, the statistics of the table are wrong for a while.
    """
    op.execute(
        """CREATE FUNCTION sluice_list_outdated(version smallint, most_chunks integer)
            RETURNS TABLE (owner_id uuid, document_id uuid, note_id uuid)
            LANGUAGE sql STABLE STRICT SECURITY DEFINER
            SET search_path = pg_catalog, public, pg_temp
            SET enable_seqscan = off SET enable_bitmapscan = off
            AS $$
            SELECT DISTINCT found.owner_id, found.document_id, found.note_id FROM (
                (SELECT chunks.owner_id, chunks.document_id, chunks.note_id FROM chunks
                    WHERE words_version IS NULL LIMIT most_chunks)
                UNION ALL
                (SELECT chunks.owner_id, chunks.document_id, chunks.note_id FROM chunks
                    WHERE words_version < version LIMIT most_chunks)
            ) AS found
        $$"""
    )
    op.execute(
        """CREATE FUNCTION sluice_count_outdated(version smallint) RETURNS bigint
            LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
            AS $$
            SELECT count(*) FROM chunks WHERE words_version IS NULL OR words_version < version
        $$"""
    )
    op.execute(f"GRANT CREATE ON SCHEMA public TO {FUNCTION_OWNER}")
    for function in (LISTING, COUNTING):
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {ROLE}")
        op.execute(f"ALTER FUNCTION {function} OWNER TO {FUNCTION_OWNER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {FUNCTION_OWNER}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for function in (LISTING, COUNTING):
        op.execute(f"DROP FUNCTION {function}")
    op.execute("REVOKE SELECT (document_id, note_id) ON chunks FROM sluice_functions")
    op.drop_column("chunks", "words_version")
