"""Create invitations, which let people register while registration is closed.
Revision: 0010, after: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ROLE = "sluice_service"


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_invitations_secret_sha256")),
    )
    create_redeeming_function()


def create_redeeming_function() -> None:
    """Create the function that uses up an invitation. The role has no rights on the table: it can list and add none."""
    op.execute(
        """CREATE FUNCTION sluice_redeem_invitation(secret_hash bytea) RETURNS uuid
            LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
            DELETE FROM invitations WHERE secret_sha256 = secret_hash AND expires_at > clock_timestamp() RETURNING id
        $$"""
    )
    op.execute("REVOKE ALL ON FUNCTION sluice_redeem_invitation(bytea) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION sluice_redeem_invitation(bytea) TO {ROLE}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("DROP FUNCTION sluice_redeem_invitation(bytea)")
    op.drop_table("invitations")
