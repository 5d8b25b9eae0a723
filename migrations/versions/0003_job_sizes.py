"""Add the size of a document to its job.
Revision: 0003, after: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("jobs", sa.Column("size_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(
        """UPDATE jobs SET size_bytes = documents.size_bytes FROM documents
            WHERE kind = 'document' AND jobs.owner_id = documents.owner_id AND subject_id = documents.id"""
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_column("jobs", "size_bytes")
