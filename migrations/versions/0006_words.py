"""Search by words and titles.
Revision: 0006, after: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
TITLES = {"documents": "filename", "notes": "title"}
SPLITTING = ("sluice_split_question(text)", "sluice_split_title(text)", "sluice_split_words(text)")
FINDING = (
    "sluice_name_titles(text)",
    "sluice_find_worded(tsquery, text, integer, integer)",
    "sluice_choose_words(regconfig, text, uuid[], integer)",
    "sluice_get_user()",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gin")
    create_splitting_functions()
    for table, title in TITLES.items():
        words = sa.Computed(f"sluice_split_title({title})", persisted=True)
        op.add_column(table, sa.Column("title_words", ARRAY(sa.Text()), words, nullable=False))
    op.add_column("chunks", sa.Column("lexemes", TSVECTOR(), nullable=True))
    op.execute("UPDATE chunks SET lexemes = to_tsvector('english', text)")
    op.alter_column("chunks", "lexemes", nullable=False)
    # The owner is part of the index. Otherwise a search would read the matches of all users.
    op.create_index("ix_chunks_owner_id_lexemes", "chunks", ["owner_id", "lexemes"], postgresql_using="gin")
    create_user_function()
    create_choose_function()
    create_find_function()
    create_title_function()
    for function in (*SPLITTING, *FINDING):
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {ROLE}")


def create_splitting_functions() -> None:
    """Create the functions that split titles and questions into words.

    For example, a question about "Coca-Cola in Q2 of 2018" names `CocaCola_2018Q2.pdf`.
    """
    op.execute(
        """CREATE FUNCTION sluice_split_words(text text) RETURNS text[]
            LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
            SELECT coalesce(array_agg(word[1] ORDER BY place), '{}')
            FROM regexp_matches(lower(text), '[[:alpha:]]+|[[:digit:]]+', 'g') WITH ORDINALITY AS words (word, place)
        $$"""
    )
    op.execute(
        """CREATE FUNCTION sluice_split_title(title text) RETURNS text[]
            LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, public AS $$
            SELECT ARRAY(
                SELECT DISTINCT unnest(sluice_split_words(regexp_replace(title, '[.][[:alnum:]]{1,5}$', ''))) ORDER BY 1
            )
        $$"""
    )
    op.execute(
        """CREATE FUNCTION sluice_split_question(question text) RETURNS text[]
            LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, public AS $$
            WITH words AS (
                SELECT word, lead(word, 1, '') OVER (ORDER BY place) AS next
                FROM unnest(sluice_split_words(question)) WITH ORDINALITY AS words (word, place)
            )
            SELECT ARRAY(SELECT word FROM words UNION SELECT word || next FROM words)
        $$"""
    )


def create_user_function() -> None:
    """Create the function that returns the user named by `sluice.user_id`. Searches read only that user's rows."""
    op.execute(
        """CREATE FUNCTION sluice_get_user() RETURNS uuid LANGUAGE sql STABLE AS $$
            SELECT nullif(pg_catalog.current_setting('sluice.user_id', true), '')::pg_catalog.uuid
        $$"""
    )


def create_choose_function() -> None:
    """Create the function that chooses the words of a question to search for."""
    op.execute(
        """CREATE FUNCTION sluice_choose_words(
                configuration regconfig, question text, of_documents uuid[], most_matches integer
            ) RETURNS TABLE (every tsquery, rare tsquery)
            LANGUAGE sql STABLE SET search_path = public ROWS 1 AS $$
            WITH sources AS (
                SELECT id, chunks FROM documents
                WHERE owner_id = (SELECT sluice_get_user()) AND (of_documents IS NULL OR id = ANY (of_documents))
                UNION ALL
                SELECT id, chunks FROM notes WHERE owner_id = (SELECT sluice_get_user()) AND of_documents IS NULL
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
                UNION ALL
                SELECT strip(lexemes) FROM places JOIN chunks ON owner_id = (SELECT sluice_get_user())
                    AND note_id = places.id AND chunks.ordinal = places.ordinal
            ),
            words AS (
                SELECT quote_literal(replace(lexeme, chr(92), ''))::tsquery AS word
                FROM unnest(to_tsvector(configuration, question))
            ),
            shares AS (
                SELECT word, (SELECT avg((lexemes @@ word)::integer) FROM sampled) AS share FROM words
            ),
            expected AS (
                SELECT word, row_number() OVER by_rarity AS place, sum(share) OVER by_rarity AS total
                FROM shares WINDOW by_rarity AS (ORDER BY share, word::text)
            )
            SELECT string_agg(word::text, ' | ')::tsquery, string_agg(word::text, ' | ') FILTER (
                WHERE place = 1 OR total IS NULL OR total * (SELECT chunks FROM size) <= most_matches
            )::tsquery
            FROM expected
        $$"""
    )


def create_find_function() -> None:
    """Create the function that finds the chunks that match the chosen words best."""
    # SECURITY DEFINER: under row-level security, a query cannot use the index on words, because `@@` is not leakproof.
    op.execute(
        """CREATE FUNCTION sluice_find_worded(
                question tsquery, of_model text, most_matches integer, number integer
            )
            RETURNS TABLE (chunk_id uuid)
            LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = public ROWS 100 AS $$
            SELECT id FROM (
                SELECT id, lexemes FROM chunks
                WHERE owner_id = (SELECT sluice_get_user()) AND lexemes @@ question AND model = of_model
                LIMIT most_matches
            ) AS matches
            ORDER BY ts_rank(lexemes, question, 1) DESC, id
            LIMIT number
        $$"""
    )


def create_title_function() -> None:
    """Create the function that finds the documents and notes whose titles a question names."""
    op.execute(
        """CREATE FUNCTION sluice_name_titles(question text)
            RETURNS TABLE (source_id uuid, cover double precision)
            LANGUAGE sql STABLE STRICT SET search_path = public ROWS 100 AS $$
            WITH asked AS MATERIALIZED (SELECT sluice_split_question(question) AS words),
            titles AS (
                SELECT id, title_words FROM documents WHERE owner_id = (SELECT sluice_get_user())
                UNION ALL SELECT id, title_words FROM notes WHERE owner_id = (SELECT sluice_get_user())
            ),
            weights AS (
                SELECT word, ln(1 + (SELECT count(*) FROM titles)::double precision / count(*)) AS weight
                FROM titles, unnest(title_words) AS word GROUP BY word
            )
            SELECT id, sum(weight) FILTER (WHERE word = ANY (words)) / sum(weight)
            FROM asked, titles, unnest(title_words) AS named JOIN weights ON word = named
            WHERE title_words && words
            GROUP BY id
        $$"""
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for function in FINDING:
        op.execute(f"DROP FUNCTION {function}")
    op.drop_column("chunks", "lexemes")
    for table in TITLES:
        op.drop_column(table, "title_words")
    for function in SPLITTING:
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP EXTENSION btree_gin")
