"""Create sessions that a browser keeps over a reload.
Revision: 0028, after: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

ROLE = "sluice_service"
CURRENT_USER = "nullif(current_setting('sluice.user_id', true), '')::uuid"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "sessions",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_sessions_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "id", name=op.f("pk_sessions")),
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO {ROLE}")
    op.execute("ALTER TABLE sessions ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owner ON sessions TO {ROLE} USING (owner_id = (SELECT {CURRENT_USER}))")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_table("sessions")
