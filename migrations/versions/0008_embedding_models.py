"""Create the table of the active and the next embedding model, and allow chunks of both.
Revision: 0008, after: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
SOURCES = ("document_id", "note_id")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "embedding_models",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('active', 'next')", name=op.f("ck_embedding_models_state")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_embedding_models")),
        sa.UniqueConstraint("state", name=op.f("uq_embedding_models_state")),
    )
    op.execute(f"GRANT SELECT ON embedding_models TO {ROLE}")
    op.execute(
        """INSERT INTO embedding_models (name, state)
            SELECT model, 'active' FROM chunks GROUP BY model ORDER BY count(*) DESC LIMIT 1"""
    )
    create_adoption_function()
    for source in SOURCES:
        op.drop_index(f"ix_chunks_owner_id_{source}_ordinal", table_name="chunks")
        op.create_index(
            f"ix_chunks_owner_id_{source}_ordinal_model",
            "chunks",
            ["owner_id", source, "ordinal", "model"],
            unique=True,
        )


def create_adoption_function() -> None:
    """Create the function that makes the configured model the active one if there are no chunks.

    The role cannot check this itself, because row-level security hides the chunks from it.
    """
    op.execute(
        """CREATE FUNCTION sluice_adopt_model(configured text) RETURNS void
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
        BEGIN
            IF EXISTS (SELECT FROM embedding_models WHERE name = configured OR state = 'next') THEN RETURN; END IF;
            -- Transactions that store vectors share this lock.
            PERFORM pg_advisory_xact_lock(8, 1);
            IF EXISTS (SELECT FROM embedding_models WHERE name = configured OR state = 'next')
                OR EXISTS (SELECT FROM chunks) AND EXISTS (SELECT FROM embedding_models) THEN RETURN; END IF;
            DELETE FROM embedding_models;
            INSERT INTO embedding_models (name, state) VALUES (configured, 'active');
        END $$"""
    )
    op.execute("REVOKE ALL ON FUNCTION sluice_adopt_model(text) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION sluice_adopt_model(text) TO {ROLE}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("DELETE FROM jobs WHERE kind LIKE '%\\_vectors'")
    op.execute("DELETE FROM chunks WHERE model <> (SELECT name FROM embedding_models WHERE state = 'active')")
    for source in SOURCES:
        op.drop_index(f"ix_chunks_owner_id_{source}_ordinal_model", table_name="chunks")
        op.create_index(f"ix_chunks_owner_id_{source}_ordinal", "chunks", ["owner_id", source, "ordinal"], unique=True)
    op.execute("DROP FUNCTION sluice_adopt_model(text)")
    op.drop_table("embedding_models")
