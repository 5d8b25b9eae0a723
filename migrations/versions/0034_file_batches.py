"""Create the batches of documents that clients in the format of OpenAI put into a collection together.
Revision: 0034, after: 0033
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
TABLE = "file_batches"
CURRENT_USER = "nullif(current_setting('sluice.user_id', true), '')::uuid"
BOUND = "nullif(current_setting('sluice.collections', true), '')"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        TABLE,
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("document_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id", "collection_id"],
            ["collections.owner_id", "collections.id"],
            name="fk_file_batches_collections",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("owner_id", "id", name=op.f("pk_file_batches")),
    )
    op.create_index(op.f("ix_file_batches_owner_id_collection_id_id"), TABLE, ["owner_id", "collection_id", "id"])
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO {ROLE}")
    op.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owner ON {TABLE} TO {ROLE} USING (owner_id = (SELECT {CURRENT_USER}))")
    op.execute(
        f"CREATE POLICY bound ON {TABLE} AS RESTRICTIVE TO {ROLE}"
        f" USING ((SELECT {BOUND} IS NULL) OR collection_id = ANY ((SELECT {BOUND}::uuid[])::uuid[]))"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_table(TABLE)
