"""Index the sizes of documents and notes, so that the bytes that an account stores are summed quickly.
Revision: 0015, after: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    size = sa.Computed("octet_length(body)", persisted=True)
    op.add_column("notes", sa.Column("size_bytes", sa.Integer(), size, nullable=False))
    for table in ("documents", "notes"):
        op.create_index(op.f(f"ix_{table}_owner_id_size_bytes"), table, ["owner_id", "size_bytes"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index(op.f("ix_documents_owner_id_size_bytes"), "documents")
    op.drop_column("notes", "size_bytes")
