"""Keep the words of the headings of a chunk's page, with their weights. Rows get them when they are ingested again.
Revision: 0025, after: 0024

Processes of the release before this one write chunks without headings.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

COLUMNS = {"heading_words": sa.Text(), "heading_weights": sa.REAL()}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for name, of in COLUMNS.items():
        op.add_column("chunks", sa.Column(name, ARRAY(of), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for name in COLUMNS:
        op.drop_column("chunks", name)
