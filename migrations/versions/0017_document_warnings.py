"""Warnings about the text of documents, and the character sets that uploads declare.
Revision: 0017, after: 0016
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("documents", sa.Column("charset", sa.String(), nullable=True))
    op.add_column("documents", sa.Column("warnings", JSONB(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_column("documents", "warnings")
    op.drop_column("documents", "charset")
