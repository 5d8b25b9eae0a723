"""Create the secret with which workers encrypt the messages that they send each other through Redis.
Revision: 0023, after: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

ROLE = "sluice_service"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "worker_secrets",
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(secret) = 32", name=op.f("ck_worker_secrets_secret_length")),
        sa.PrimaryKeyConstraint("purpose", name=op.f("pk_worker_secrets")),
    )
    op.execute(f"GRANT SELECT ON worker_secrets TO {ROLE}")
    # Two random UUIDs have 244 random bits.
    op.execute(
        """INSERT INTO worker_secrets (purpose, secret)
            VALUES ('messages', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')))"""
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_table("worker_secrets")
