"""Return the ranks of all matches, so that no passage is ranked twice.
Revision: 0019, after: 0018

Processes of the release before this one call `sluice_find_worded`, so it stays until a later migration.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
FUNCTION_OWNER = "sluice_functions"
FOUND = "sluice_find_worded(tsquery, text, integer, integer)"
MATCHED = "sluice_match_words(tsquery, tsquery, text, integer)"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    # As before, it reads the user from the setting that row-level security reads, and bitmap scans read in the order of
    # the table. See the migrations 0006 and 0018.
    op.execute(
        """CREATE FUNCTION sluice_match_words(matched tsquery, ranked tsquery, of_model text, most_matches integer)
            RETURNS TABLE (id uuid, rank double precision)
            LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 500
            SET search_path = pg_catalog, public, pg_temp
            SET enable_indexscan = off SET max_parallel_workers_per_gather = 0 SET cpu_operator_cost = 0.1
            AS $$
            SELECT id, ts_rank(lexemes, ranked, 1) FROM chunks
            WHERE owner_id = (SELECT sluice_get_user()) AND lexemes @@ matched AND model = of_model
            LIMIT most_matches
        $$"""
    )
    op.execute(f"REVOKE ALL ON FUNCTION {MATCHED} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {MATCHED} TO {ROLE}")
    op.execute(f"GRANT CREATE ON SCHEMA public TO {FUNCTION_OWNER}")
    op.execute(f"ALTER FUNCTION {MATCHED} OWNER TO {FUNCTION_OWNER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {FUNCTION_OWNER}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute(f"DROP FUNCTION {MATCHED}")
