"""chunks know of which text their vector was made

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
    # In the row: outside of it, where all large values go that may, each would be a row of its own.
    op.execute("ALTER TABLE chunks ALTER COLUMN embedded_sha256 SET STORAGE PLAIN")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_column("chunks", "embedded_sha256")
