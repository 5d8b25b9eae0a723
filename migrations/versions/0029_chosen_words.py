"""Search for words in some documents, notes or passages.
Revision: 0029, after: 0028

Processes of the release before this one call `sluice_choose_queries`, so it stays until a later migration.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
FUNCTION_OWNER = "sluice_functions"
FUNCTION = "sluice_match_chosen_words(tsquery, tsquery, integer, uuid[], boolean)"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    create_function()
    op.execute(f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {ROLE}")
    op.execute(f"GRANT CREATE ON SCHEMA public TO {FUNCTION_OWNER}")
    op.execute(f"ALTER FUNCTION {FUNCTION} OWNER TO {FUNCTION_OWNER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {FUNCTION_OWNER}")


def create_function() -> None:
    """Create the function that finds chosen chunks by words. As `sluice_match_words`: see the migration 0019.

    The ids are those of documents and notes, or of passages. A hash table is made of them.
    """
    op.execute(
        """CREATE FUNCTION sluice_match_chosen_words(
                matched tsquery, ranked tsquery, most_matches integer, chosen uuid[], of_passages boolean
            )
            RETURNS TABLE (id uuid, rank double precision)
            LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 500
            SET search_path = pg_catalog, public, pg_temp
            SET enable_indexscan = off SET max_parallel_workers_per_gather = 0 SET cpu_operator_cost = 0.1
            AS $$
            SELECT id, ts_rank(lexemes, ranked, 1) FROM chunks
            WHERE owner_id = (SELECT sluice_get_user()) AND lexemes @@ matched AND coalesce(
                CASE WHEN of_passages THEN id ELSE coalesce(document_id, note_id) END IN (SELECT unnest(chosen)), false
            )
            LIMIT most_matches
        $$"""
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute(f"DROP FUNCTION {FUNCTION}")
