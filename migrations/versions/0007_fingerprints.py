"""Add the hash of the text that a chunk's vector was made from.
Revision: 0007, after: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("chunks", sa.Column("embedded_sha256", sa.LargeBinary(), nullable=True))
    # PLAIN keeps the hash in its row. Otherwise it would be moved to the TOAST table, as a row of its own.
    op.execute("ALTER TABLE chunks ALTER COLUMN embedded_sha256 SET STORAGE PLAIN")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_column("chunks", "embedded_sha256")
