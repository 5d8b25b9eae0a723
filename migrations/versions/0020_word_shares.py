"""Store how frequent the words of each owner's passages are, so that no search has to find it out.
Revision: 0020, after: 0019

Owners are sampled one by one, each in a transaction of its own. If the migration is interrupted, it goes on with the
owners who have no sample yet.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
TABLES = ("word_samples", "word_shares")
FUNCTION = "sluice_sample_words(integer)"
SAMPLED_FROM = 300
"""Smallest number of chunks of the owners who are sampled here. Searches of others leave out no words."""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    # If an earlier run was interrupted, the tables exist.
    if not sa.inspect(op.get_bind()).has_table("word_shares"):
        create_tables()
        create_function()
    with op.get_context().autocommit_block():
        sample_owners()


def create_tables() -> None:
    op.create_table(
        "word_samples",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_word_samples_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_word_samples")),
    )
    op.create_table(
        "word_shares",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("word", sa.String(), nullable=False),
        sa.Column("share", sa.REAL(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_word_shares_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "word", name=op.f("pk_word_shares")),
    )
    for table in TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {ROLE}")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"""CREATE POLICY owner ON {table} TO {ROLE}
                USING (owner_id = nullif(current_setting('sluice.user_id', true), '')::uuid)"""
        )


def create_function() -> None:
    """Create the function that samples an owner's words again if the number of chunks has changed enough.

    `changed` is the number of chunks that were just stored. On average, a sample is taken whenever a quarter of the
    chunks have changed. It has about 2,000 chunks, of at most 2,000 documents and notes. A word that only one of them
    contains is not stored.
    """
    op.execute(
        """CREATE FUNCTION sluice_sample_words(changed integer) RETURNS void
            LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
        DECLARE
            acting uuid := sluice_get_user();
            before integer := coalesce((SELECT chunks FROM word_samples WHERE owner_id = acting), 0);
        BEGIN
            IF random() * greatest(before, 500) > 4.0 * changed
                OR NOT pg_try_advisory_xact_lock(9, hashtext(acting::text)) THEN RETURN; END IF;
            INSERT INTO word_samples (owner_id, chunks)
                SELECT acting, sum(chunks) FROM (
                    SELECT chunks FROM documents WHERE owner_id = acting
                    UNION ALL SELECT chunks FROM notes WHERE owner_id = acting
                ) AS sources HAVING sum(chunks) IS NOT NULL
                ON CONFLICT (owner_id) DO UPDATE SET chunks = excluded.chunks;
            DELETE FROM word_shares WHERE owner_id = acting;
            INSERT INTO word_shares (owner_id, word, share)
                WITH sources AS (
                    SELECT id, chunks FROM documents WHERE owner_id = acting AND chunks > 0
                    UNION ALL SELECT id, chunks FROM notes WHERE owner_id = acting AND chunks > 0
                ),
                chosen AS (
                    SELECT id, chunks, count(*) OVER () AS sources
                    FROM (SELECT id, chunks FROM sources ORDER BY uuid_hash(id) LIMIT 2000) AS first_ones
                ),
                places AS (
                    SELECT DISTINCT id, (chunks * part / (2000 / sources))::integer AS ordinal
                    FROM chosen, generate_series(0, 2000 / sources - 1) AS part
                ),
                sampled AS MATERIALIZED (
                    SELECT lexemes FROM places JOIN chunks ON owner_id = acting
                        AND document_id = places.id AND chunks.ordinal = places.ordinal
                    UNION ALL
                    SELECT lexemes FROM places JOIN chunks ON owner_id = acting
                        AND note_id = places.id AND chunks.ordinal = places.ordinal
                )
                SELECT acting, word, count(*)::real / (SELECT count(*) FROM sampled)
                FROM sampled, unnest(tsvector_to_array(lexemes)) AS word GROUP BY word HAVING count(*) > 1;
        END $$"""
    )
    op.execute(f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {ROLE}")


def sample_owners() -> None:
    connection = op.get_bind()
    owners = connection.scalars(
        sa.text(
            """SELECT owner_id FROM (
                SELECT owner_id, chunks FROM documents UNION ALL SELECT owner_id, chunks FROM notes
            ) AS sources
            WHERE NOT EXISTS (SELECT FROM word_samples WHERE word_samples.owner_id = sources.owner_id)
            GROUP BY owner_id HAVING sum(chunks) >= :least"""
        ),
        {"least": SAMPLED_FROM},
    )
    for owner in owners.all():
        # One statement, and so one transaction. The argument makes sure that a sample is taken.
        connection.execute(
            sa.text(
                """WITH acting AS MATERIALIZED (SELECT set_config('sluice.user_id', :owner, true) AS id)
                SELECT sluice_sample_words(500) FROM acting WHERE id IS NOT NULL"""
            ),
            {"owner": str(owner)},
        )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute(f"DROP FUNCTION {FUNCTION}")
    for table in TABLES:
        op.drop_table(table)
