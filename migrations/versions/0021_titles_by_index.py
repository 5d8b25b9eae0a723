"""Find the titles that a question names by an index, instead of reading all titles.
Revision: 0021, after: 0020

Processes of the release before this one call `sluice_name_titles`, so it stays until a later migration.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
FUNCTION_OWNER = "sluice_functions"
TABLES = ("documents", "notes")
READING = "SELECT (owner_id, id, title_words)"
SPLITTING = "sluice_split_question(text), sluice_split_words(text)"
FUNCTION = "sluice_find_titles(text)"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for table in TABLES:
        op.create_index(
            op.f(f"ix_{table}_owner_id_title_words"),
            table,
            ["owner_id", "title_words"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
        op.execute(f"GRANT {READING} ON {table} TO {FUNCTION_OWNER}")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SPLITTING} TO {FUNCTION_OWNER}")
    create_function()
    op.execute(f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {ROLE}")
    op.execute(f"GRANT CREATE ON SCHEMA public TO {FUNCTION_OWNER}")
    op.execute(f"ALTER FUNCTION {FUNCTION} OWNER TO {FUNCTION_OWNER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {FUNCTION_OWNER}")


def create_function() -> None:
    """Create the function that finds the documents and notes whose titles a question names.

    The weight of a word comes from the titles of the newest 100 documents and 100 notes. If these are 100 titles or
    more, only the rarest words of the question find titles, about 5 % of all.
    """
    # SECURITY DEFINER: under row-level security, a query cannot use the index on titles, because `&&` is not leakproof.
    op.execute(
        """CREATE FUNCTION sluice_find_titles(question text)
            RETURNS TABLE (source_id uuid, cover double precision)
            LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 100
            SET search_path = pg_catalog, public, pg_temp
            AS $$
            WITH asked AS MATERIALIZED (SELECT sluice_split_question(question) AS words),
            newest AS MATERIALIZED (
                (SELECT title_words FROM documents WHERE owner_id = (SELECT sluice_get_user())
                    ORDER BY id DESC LIMIT 100)
                UNION ALL
                (SELECT title_words FROM notes WHERE owner_id = (SELECT sluice_get_user()) ORDER BY id DESC LIMIT 100)
            ),
            size AS MATERIALIZED (SELECT count(*)::double precision AS titles FROM newest),
            frequencies AS MATERIALIZED (
                SELECT word, count(*) AS titles FROM newest, unnest(title_words) AS word GROUP BY word
            ),
            by_rarity AS (
                SELECT word, row_number() OVER rarest AS place, sum(coalesce(titles, 0)) OVER rarest AS total
                FROM asked, unnest(words) AS word LEFT JOIN frequencies USING (word)
                WINDOW rarest AS (ORDER BY coalesce(titles, 0), word)
            ),
            rare AS MATERIALIZED (
                SELECT array_agg(word) AS words FROM by_rarity, size
                WHERE size.titles < 100 OR total <= size.titles / 20 OR place = 1
            ),
            matches AS (
                SELECT id, title_words FROM documents
                WHERE owner_id = (SELECT sluice_get_user()) AND title_words && (SELECT words FROM rare)
                UNION ALL
                SELECT id, title_words FROM notes
                WHERE owner_id = (SELECT sluice_get_user()) AND title_words && (SELECT words FROM rare)
            ),
            weights AS (
                SELECT id, word, ln(1 + size.titles / coalesce(frequencies.titles, 1)) AS weight
                FROM size, matches, unnest(title_words) AS word LEFT JOIN frequencies USING (word)
            )
            SELECT id, sum(weight) FILTER (WHERE word = ANY (asked.words)) / sum(weight)
            FROM asked, weights GROUP BY id
        $$"""
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute(f"DROP FUNCTION {FUNCTION}")
    op.execute(f"REVOKE EXECUTE ON FUNCTION {SPLITTING} FROM {FUNCTION_OWNER}")
    for table in TABLES:
        op.execute(f"REVOKE {READING} ON {table} FROM {FUNCTION_OWNER}")
        op.drop_index(op.f(f"ix_{table}_owner_id_title_words"), table)
