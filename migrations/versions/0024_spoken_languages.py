"""Search for words in the languages of an owner's documents.
Revision: 0024, after: 0023

Processes of the release before this one call `sluice_choose_words`, so it stays until a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
FUNCTION = "sluice_choose_queries(text[], uuid[], integer)"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    create_table()
    create_function()


def create_table() -> None:
    op.create_table(
        "spoken_languages",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_spoken_languages_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "language", name=op.f("pk_spoken_languages")),
    )
    op.execute(f"GRANT SELECT, INSERT ON spoken_languages TO {ROLE}")
    op.execute("ALTER TABLE spoken_languages ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"""CREATE POLICY owner ON spoken_languages TO {ROLE}
            USING (owner_id = nullif(current_setting('sluice.user_id', true), '')::uuid)"""
    )


def create_function() -> None:
    """Create the function that chooses the words of a question to search for in some documents.

    As `sluice_choose_words` of the migration 0006, but each word is a text search query for any of its forms.
    """
    op.execute(
        """CREATE FUNCTION sluice_choose_queries(queries text[], of_documents uuid[], most_matches integer)
            RETURNS TABLE (every tsquery, rare tsquery)
            LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp ROWS 1 AS $$
            WITH sources AS (
                SELECT id, chunks FROM documents
                WHERE owner_id = (SELECT sluice_get_user()) AND id = ANY (of_documents)
            ),
            size AS (SELECT sum(chunks) AS chunks FROM sources),
            chosen AS (
                SELECT id, chunks, count(*) OVER () AS sources
                FROM (SELECT id, chunks FROM sources WHERE chunks > 0 ORDER BY uuid_hash(id) LIMIT 100) AS sources
                WHERE (SELECT chunks FROM size) > most_matches
            ),
            places AS (
                SELECT DISTINCT id, (chunks * part / (200.0 / sources))::integer AS ordinal
                FROM chosen, generate_series(0, 200 / sources - 1) AS part
            ),
            sampled AS MATERIALIZED (
                SELECT strip(lexemes) AS lexemes FROM places JOIN chunks ON owner_id = (SELECT sluice_get_user())
                    AND document_id = places.id AND chunks.ordinal = places.ordinal
            ),
            words AS (SELECT query, query::tsquery AS word FROM unnest(queries) AS query),
            shares AS (
                SELECT query, (SELECT avg((lexemes @@ word)::integer) FROM sampled) AS share FROM words
            ),
            expected AS (
                SELECT query, row_number() OVER by_rarity AS place, sum(share) OVER by_rarity AS total
                FROM shares WINDOW by_rarity AS (ORDER BY share, query)
            )
            SELECT string_agg(query, ' | ')::tsquery, string_agg(query, ' | ') FILTER (
                WHERE place = 1 OR total IS NULL OR total * (SELECT chunks FROM size) <= most_matches
            )::tsquery
            FROM expected
        $$"""
    )
    op.execute(f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {ROLE}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute(f"DROP FUNCTION {FUNCTION}")
    op.drop_table("spoken_languages")
