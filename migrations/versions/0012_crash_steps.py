"""Add the steps at which a job crashed, the evidence against its document.
Revision: 0012, after: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("jobs", sa.Column("step", sa.Integer(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("crash_step", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("repeats", sa.SmallInteger(), server_default="0", nullable=False))
    op.create_index(
        "ix_jobs_suspects",
        "jobs",
        ["available_at"],
        postgresql_where=sa.text("lease_token IS NULL AND crashes > 0"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index("ix_jobs_suspects", table_name="jobs")
    op.drop_column("jobs", "repeats")
    op.drop_column("jobs", "crash_step")
    op.drop_column("jobs", "step")
