"""Slow an account down after many failed logins from all addresses, except for networks that have logged in before.
Revision: 0014, after: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ROLE = "sluice_service"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "login_slowdowns",
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("failures", sa.Float(), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("email", name=op.f("pk_login_slowdowns")),
    )
    op.create_table(
        "known_networks",
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("network_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("email", "network_sha256", name=op.f("pk_known_networks")),
    )
    for table in ("login_failures", "login_slowdowns"):
        op.create_index(op.f(f"ix_{table}_last_failed_at"), table, ["last_failed_at"])
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON login_slowdowns, known_networks TO {ROLE}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index(op.f("ix_login_failures_last_failed_at"), "login_failures")
    op.drop_table("known_networks")
    op.drop_table("login_slowdowns")
