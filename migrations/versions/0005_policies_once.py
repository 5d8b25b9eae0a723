"""Let row-level security look up the user once per query instead of once per row.
Revision: 0005, after: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OWNED = ("documents", "document_slices", "document_pages", "chunks", "notes")
CURRENT_USER = "nullif(current_setting('sluice.user_id', true), '')::uuid"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for table in OWNED:
        op.execute(f"ALTER POLICY owner ON {table} USING (owner_id = (SELECT {CURRENT_USER}))")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for table in OWNED:
        op.execute(f"ALTER POLICY owner ON {table} USING (owner_id = {CURRENT_USER})")
